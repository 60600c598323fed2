"""What faults are injected into: tiny judged stores, and a small release through every stage."""

from tests.deploy.conftest import crop_dir, in_the_project, params, stages, train_dir
from tests.kpi.conftest import how, store_of

__all__ = ["crop_dir", "how", "in_the_project", "params", "stages", "store_of", "train_dir"]
