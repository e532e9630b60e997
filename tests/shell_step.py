"""``python -m shell_step SCRIPT``: what ``sh -c SCRIPT`` does, as a step that can be forked."""

import subprocess
import sys

if __name__ == "__main__":
    code = subprocess.run(["sh", "-c", sys.argv[1]], check=False).returncode
    sys.exit(code if code >= 0 else 128 - code)
