"""Installs rs_mm. The mm packages stand in requirements/mminstall.txt, see README.md."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# optional capabilities, a file of requirements each
EXTRAS = ('geo', 'index', 'milvus', 'page', 'export', 'docs', 'encoders', 'siglip')


def requirements(name):
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


class BuildWithTree(build_py):
    """Puts the configs and tools into the wheel; an editable install uses those of the checkout."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for part in ('configs', 'tools'):
            shutil.copytree(
                ROOT / part,
                Path(self.build_lib) / 'rs_mm' / '.mim' / part,
                ignore=shutil.ignore_patterns('__pycache__'),
                dirs_exist_ok=True,
            )


setup(
    name='rs_mm',
    version=re.search(r"'(.+)'", (ROOT / 'rs_mm/version.py').read_text())[1],
    description='A remote-sensing toolbox in the OpenMMLab manner',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['rs_mm', 'rs_mm.*']),
    package_data={
        'rs_mm': [
            'py.typed',
            '**/*.csv',
            '**/*.csv.gz',
            '**/*.json',
            '**/*.json.gz',
            '**/*.txt.gz',
            '**/leaflet/*',
        ]
    },
    python_requires='>=3.10',
    install_requires=requirements('runtime.txt'),
    extras_require={
        'mm': requirements('mminstall.txt'),
        'tests': requirements('tests.txt'),
        'optional': requirements('optional.txt'),
        **{extra: requirements(f'{extra}.txt') for extra in EXTRAS},
    },
    cmdclass={'build_py': BuildWithTree},
    entry_points={'console_scripts': ['rs_mm = rs_mm.launch.console:main']},
    zip_safe=False,
)
