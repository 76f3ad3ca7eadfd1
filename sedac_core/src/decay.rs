//! Adaptive decay: `gamma_t = clip(gamma * (1 - u) * (1 + b), 0, 1)`.
//!
//! `u` in [0, 1] is the uncertainty of the step: what was gathered before counts less. `b` is a
//! bonus for recent right exits: where exits have been right, what was gathered counts more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Bonus if every recent exit was right.
pub const LARGEST_BONUS: f32 = 0.1;

/// Number of exits that count as recent.
pub const RECENT: u32 = 63;

/// The decay of one step.
#[must_use]
pub fn decay_of_step(decay: f32, uncertainty: f32, bonus: f32) -> f32 {
    (decay * (1.0 - uncertainty) * (1.0 + bonus)).clamp(0.0, 1.0)
}

/// Checks the uncertainty of a step.
///
/// # Errors
/// [`Error::Parameter`] outside [0, 1], [`Error::DecayIsFixed`] where it would have no effect.
pub fn check_uncertainty(adaptive: bool, value: f32) -> Result<()> {
    if !(0.0..=1.0).contains(&value) {
        let (name, expected) = ("uncertainty", "from 0 to 1");
        return Err(Error::Parameter { name, value: value.to_string(), expected });
    }
    if value != 0.0 && !adaptive { Err(Error::DecayIsFixed { value }) } else { Ok(()) }
}

/// The outcomes of the most recent exits, one bit each (1: right), newest lowest, below a marker
/// bit that is always the highest one set. One word, so that no reader sees half an update.
#[derive(Debug)]
pub struct Outcomes(AtomicU64);

impl Default for Outcomes {
    fn default() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Outcomes {
    /// Records whether exits were right, in order.
    pub fn record(&self, right: &[bool]) {
        let push = |bits| Some(right.iter().fold(bits, |bits, right| with_outcome(bits, *right)));
        // The closure always returns Some, so the update cannot fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, push);
    }

    /// The bonus `b`: [`LARGEST_BONUS`] times the share of right ones, 0 before the first.
    #[must_use]
    pub fn bonus(&self) -> f32 {
        let bits = self.0.load(Ordering::Relaxed);
        let recorded = u64::BITS - 1 - bits.leading_zeros();
        if recorded == 0 {
            return 0.0;
        }
        // The marker is one of the ones.
        LARGEST_BONUS * (bits.count_ones() - 1) as f32 / recorded as f32
    }

    /// Forgets every outcome.
    pub fn clear(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

fn with_outcome(bits: u64, right: bool) -> u64 {
    let full = bits.leading_zeros() == 0;
    let pushed = (bits << 1) | u64::from(right);
    // A full word has just lost its marker; the oldest outcome's place becomes the marker's.
    if full { pushed | (1 << RECENT) } else { pushed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bonus_is_the_share_of_right_exits_among_the_recent() {
        let outcomes = Outcomes::default();
        assert_eq!(outcomes.bonus(), 0.0);
        outcomes.record(&[true, false, true, true]);
        assert_eq!(outcomes.bonus(), 0.1 * 3.0 / 4.0);
        outcomes.record(&[true; 63]);
        assert_eq!(outcomes.bonus(), 0.1);
        outcomes.record(&[false; 21]);
        assert_eq!(outcomes.bonus(), 0.1 * 42.0 / 63.0);
        outcomes.clear();
        assert_eq!(outcomes.bonus(), 0.0);
    }

    #[test]
    fn decay_shrinks_with_uncertainty_and_never_passes_one() {
        assert_eq!(decay_of_step(0.9, 0.0, 0.0), 0.9);
        assert_eq!(decay_of_step(0.9, 1.0, 0.1), 0.0);
        assert_eq!(decay_of_step(0.99, 0.0, 0.1), 1.0);
        assert!((decay_of_step(0.9, 0.5, 0.1) - 0.495).abs() < 1e-6);
    }

    #[test]
    fn uncertainty_without_adaptive_decay_is_refused() {
        assert!(matches!(check_uncertainty(false, 0.5), Err(Error::DecayIsFixed { .. })));
        assert!(check_uncertainty(false, 0.0).is_ok());
        assert!(check_uncertainty(true, f32::NAN).is_err());
    }
}
