"""What faults are injected into, beside a small release: tiny judged stores."""

from tests.deploy.conftest import in_a_project
from tests.kpi.conftest import how, store_of

__all__ = ["how", "in_a_project", "store_of"]
