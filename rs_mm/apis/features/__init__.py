"""Features of a whole data set: extracted once, evaluated and reduced many times."""
