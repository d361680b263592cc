"""Local: the local stack, real servers out of wheels. For development and tests only."""

import sys
from pathlib import Path

# The demo plays a partner through the client that partners copy (partner_inventory). It is a sample
# of the checkout that nothing installs; tests find it by pyproject.toml. Last on the path: it hides
# nothing.
PARTNER_SAMPLES = Path(__file__).parents[2] / "docs" / "partner" / "samples" / "python"
if str(PARTNER_SAMPLES) not in sys.path:
    sys.path.append(str(PARTNER_SAMPLES))
