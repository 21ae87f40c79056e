"""Features of a whole dataset, which are extracted once and evaluated or reduced many times."""
