//! Defaults from the environment. Each is read only where its argument was left out, so that an
//! explicit argument wins even over a malformed variable.

use crate::error::{Error, Result};

const DECAY: &str = "SEDAC_CONFIDENCE_DECAY";
const SOFT_EXIT: &str = "SEDAC_SOFT_EXIT";
const WEIGHTS: &str = "SEDAC_LAYER_WEIGHTS";

/// Where `SEDAC_LAYER_WEIGHTS` is named in an error about the number of weights.
pub const WEIGHTS_ORIGIN: &str = "SEDAC_LAYER_WEIGHTS (default 0.3,0.4,0.3)";

/// `SEDAC_CONFIDENCE_DECAY`, a number from 0 to 1; 0.9 where unset.
///
/// # Errors
/// [`Error::Environment`] if it is not such a number.
pub fn confidence_decay() -> Result<f64> {
    read(DECAY, "0.9", "a number from 0 to 1", |text| parse(text).filter(|decay| (0.0..=1.0).contains(decay)))
}

/// `SEDAC_SOFT_EXIT`, `1` or `0` (also `true`, `false`); on where unset.
///
/// # Errors
/// [`Error::Environment`] if it is neither.
pub fn soft_exit() -> Result<bool> {
    read(SOFT_EXIT, "1", "1 or 0", |text| match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    })
}

/// `SEDAC_LAYER_WEIGHTS`, numbers >= 0 with commas between; `0.3,0.4,0.3` where unset.
///
/// # Errors
/// [`Error::Environment`] if a part is not such a number.
pub fn layer_weights() -> Result<Vec<f64>> {
    read(WEIGHTS, "0.3,0.4,0.3", "finite numbers >= 0, separated by commas", |text| {
        text.split(',').map(|part| parse(part).filter(|weight| *weight >= 0.0)).collect()
    })
}

fn parse(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

fn read<T>(
    name: &'static str,
    default: &str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T> {
    let value = std::env::var_os(name).map_or_else(|| default.into(), |v| v.to_string_lossy().into_owned());
    parse(&value).ok_or(Error::Environment { name, value, expected })
}
