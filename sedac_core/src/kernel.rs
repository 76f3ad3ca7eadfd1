//! The exit rule over contiguous tokens: the only code that runs per token.
//!
//! A token's state is three numbers in three arrays: the accumulated confidence `C`, the largest
//! `C` since its exit (0 before it), and the layer of its exit (-1 before it). The loops below have
//! no branches and no calls, so that the compiler turns them into vector code.

use crate::math::ratio_of_confidence;

/// Marks a token that has not exited.
pub const NO_EXIT: i32 = -1;

/// One checkpoint in the numbers that the loops need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// The layer, reported where a token exits here.
    pub layer_idx: i32,
    /// Scale of the confidence, > 0.
    pub threshold: f32,
    /// Weight of this checkpoint's confidence.
    pub weight: f32,
    /// Accumulated confidence at which a token exits.
    pub target: f32,
}

impl Checkpoint {
    /// Rounds to the precision of the loops.
    #[must_use]
    pub fn new(layer_idx: u32, threshold: f64, weight: f64, target: f64) -> Self {
        Self {
            layer_idx: layer_idx as i32,
            threshold: threshold as f32,
            weight: weight as f32,
            target: target as f32,
        }
    }
}

/// The state of a range of tokens; the three slices have one length.
pub struct Tokens<'a> {
    /// Accumulated confidence.
    pub confidence: &'a mut [f32],
    /// Largest accumulated confidence since the exit, 0 before it.
    pub best: &'a mut [f32],
    /// Layer of the exit, or [`NO_EXIT`].
    pub exit: &'a mut [i32],
}

/// Where the decisions on a batch go; the four slices have one length.
pub struct ExitSlices<'a> {
    /// Whether the token exited.
    pub should_exit: &'a mut [bool],
    /// Layer of the exit, or -1.
    pub exit_layer: &'a mut [i32],
    /// The confidence that the ratio follows from: the largest since the exit, or, without an
    /// exit, the last.
    pub accumulated_confidence: &'a mut [f32],
    /// Share of the MLP work that may be skipped, in [0, 1].
    pub soft_exit_ratio: &'a mut [f32],
}

impl ExitSlices<'_> {
    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exit_layer.len()
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exit_layer.is_empty()
    }

    /// The slices of a range of tokens.
    pub fn range(&mut self, start: usize, end: usize) -> ExitSlices<'_> {
        ExitSlices {
            should_exit: &mut self.should_exit[start..end],
            exit_layer: &mut self.exit_layer[start..end],
            accumulated_confidence: &mut self.accumulated_confidence[start..end],
            soft_exit_ratio: &mut self.soft_exit_ratio[start..end],
        }
    }

    /// The same memory as a state: the ratio's place holds the best confidence until the end.
    pub fn as_tokens(&mut self) -> Tokens<'_> {
        Tokens { confidence: self.accumulated_confidence, best: self.soft_exit_ratio, exit: self.exit_layer }
    }
}

/// `conf = clamp((tau - r) / tau, 0, 1)`, and 0 for a risk that is negative or NaN.
#[inline(always)]
#[must_use]
pub fn confidence(checkpoint: &Checkpoint, risk: f32) -> f32 {
    let raw = (checkpoint.threshold - risk) / checkpoint.threshold;
    // Not f32::clamp: this form also turns NaN into 0. No upper bound is needed: where the risk is
    // not negative, tau - r is at most tau, and rounding keeps that order.
    if raw > 0.0 && risk >= 0.0 { raw } else { 0.0 }
}

/// `C = gamma * C + w * conf`.
#[inline(always)]
#[must_use]
pub fn accumulate(checkpoint: &Checkpoint, decay: f32, before: f32, risk: f32) -> f32 {
    decay * before + checkpoint.weight * confidence(checkpoint, risk)
}

/// Compiles a loop for every x86-64, for AVX2 and for AVX-512, and calls the widest that the
/// machine runs. All do the same IEEE operations in the same order, so their results are equal to
/// the bit.
macro_rules! vectorised {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $kind:ty),*) $body:block) => {
        $(#[$doc])*
        pub fn $name($($arg: $kind),*) {
            #[inline(always)]
            fn plain($($arg: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
                fn avx512($($arg: $kind),*) {
                    plain($($arg),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $kind),*) {
                    plain($($arg),*);
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: the only condition of calling `avx512` is that the processor has the
                    // four features that it enables, which the lines above have just asked it.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above, with AVX2 as the only feature.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*);
        }
    };
}

vectorised! {
    /// Feeds one checkpoint to tokens of one route. `risk` and the state have one length.
    pub fn step(checkpoint: &Checkpoint, decay: f32, risk: &[f32], tokens: &mut Tokens<'_>) {
        let Checkpoint { target, layer_idx, .. } = *checkpoint;
        let state = tokens.confidence.iter_mut().zip(tokens.best.iter_mut()).zip(tokens.exit.iter_mut());
        for (((confidence, best), exit), risk) in state.zip(risk) {
            let c = accumulate(checkpoint, decay, *confidence, *risk);
            let exits_here = if c >= target { layer_idx } else { NO_EXIT };
            let layer = if *exit >= 0 { *exit } else { exits_here };
            let candidate = if layer >= 0 { c } else { 0.0 };
            *confidence = c;
            *exit = layer;
            *best = if candidate > *best { candidate } else { *best };
        }
    }
}

vectorised! {
    /// Writes the skip ratio of every token: 0 before the exit, `f(best)` (soft) or 1 (hard) after.
    pub fn ratios(soft: bool, best: &[f32], exit: &[i32], out: &mut [f32]) {
        for ((slot, best), exit) in out.iter_mut().zip(best).zip(exit) {
            let after = if soft { ratio_of_confidence(*best) } else { 1.0 };
            *slot = if *exit >= 0 { after } else { 0.0 };
        }
    }
}

vectorised! {
    /// Turns a state that lies in `out` (see [`ExitSlices::as_tokens`]) into decisions.
    pub fn conclude(soft: bool, out: &mut ExitSlices<'_>) {
        let flags = out.should_exit.iter_mut().zip(out.exit_layer.iter());
        let values = out.accumulated_confidence.iter_mut().zip(out.soft_exit_ratio.iter_mut());
        for ((flag, exit), (confidence, ratio)) in flags.zip(values) {
            let best = *ratio;
            let after = if soft { ratio_of_confidence(best) } else { 1.0 };
            let exited = *exit >= 0;
            *flag = exited;
            *confidence = if exited { best } else { *confidence };
            *ratio = if exited { after } else { 0.0 };
        }
    }
}

/// Whether a risk counts: finite and not negative.
#[inline(always)]
#[must_use]
pub fn is_valid(risk: f32) -> bool {
    (0.0..=f32::MAX).contains(&risk)
}

vectorised! {
    /// Adds to `count` the number of risks that are negative or not finite.
    pub fn count_invalid(risk: &[f32], count: &mut u64) {
        for chunk in risk.chunks(1 << 16) {
            // A u32 a lane is enough for 65536 and twice as fast as a u64.
            *count += u64::from(chunk.iter().map(|r| u32::from(!is_valid(*r))).sum::<u32>());
        }
    }
}

vectorised! {
    /// Adds to `count` the number of tokens that exited at `layer`.
    pub fn count_exits(exit: &[i32], layer: i32, count: &mut u64) {
        for chunk in exit.chunks(1 << 16) {
            *count += u64::from(chunk.iter().map(|e| u32::from(*e == layer)).sum::<u32>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINT: Checkpoint = Checkpoint { layer_idx: 7, threshold: 0.8, weight: 0.3, target: 0.2 };

    #[test]
    fn confidence_is_clamped_and_zero_for_risks_that_do_not_count() {
        for (risk, expected) in [(0.0, 1.0), (0.4, 0.5), (0.8, 0.0), (9.0, 0.0), (f32::INFINITY, 0.0)] {
            assert_eq!(confidence(&CHECKPOINT, risk), expected, "risk {risk}");
        }
        for risk in [f32::NAN, -1.0, f32::NEG_INFINITY, -1e-30] {
            assert_eq!(confidence(&CHECKPOINT, risk), 0.0, "risk {risk}");
        }
    }

    #[test]
    fn the_exit_latches_and_the_best_confidence_stays() {
        let (mut c, mut best, mut exit) = ([0.0], [0.0], [NO_EXIT]);
        let mut tokens = Tokens { confidence: &mut c, best: &mut best, exit: &mut exit };
        step(&CHECKPOINT, 0.9, &[0.0], &mut tokens);
        let later = Checkpoint { layer_idx: 14, ..CHECKPOINT };
        step(&later, 0.9, &[5.0], &mut tokens);
        assert_eq!((exit, best), ([7], [0.3]));
        assert!(c[0] < 0.3);
    }

    #[test]
    fn counting_finds_every_risk_that_does_not_count() {
        let mut count = 0;
        count_invalid(&[0.0, -0.0, f32::MAX, f32::NAN, -1.0, f32::INFINITY], &mut count);
        assert_eq!(count, 3);
    }
}
