"""Statistical detectors (check 8): is this step of the policy like those that were calibrated on?

`DetectorBank` scores the rows of plans for the gate, `calibrate_episodes` and
`calibrate_pairs` set its thresholds, `DetectorCalibration` is what is kept in a file.
"""

from salus_ros.supervision.detectors.bank import Alarm, DetectorBank
from salus_ros.supervision.detectors.calibration import DetectorCalibration, load_calibration
from salus_ros.supervision.detectors.errors import DetectorError
from salus_ros.supervision.detectors.fitting import calibrate_episodes, calibrate_pairs
from salus_ros.supervision.detectors.rows import Episode

__all__ = [
    "Alarm",
    "DetectorBank",
    "DetectorCalibration",
    "DetectorError",
    "Episode",
    "calibrate_episodes",
    "calibrate_pairs",
    "load_calibration",
]
