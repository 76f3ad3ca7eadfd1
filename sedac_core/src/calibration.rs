//! Thresholds and confidence targets from samples.
//!
//! The threshold sets the scale of a layer's confidence. The confidence target is what decides
//! how many exit: it is solved on the samples, checkpoint by checkpoint, so that the share that
//! has exited up to each is the target exit rate.

use crate::config::{MIN_THRESHOLD, Route, Settings};
use crate::error::Result;
use crate::kernel::{Checkpoint, accumulate};
use crate::math;
use crate::snapshot::RouteState;

/// The latest samples of one checkpoint. The n-th sample of each checkpoint is of the same token,
/// so one that is not usable keeps its place, as NaN.
#[derive(Clone, Debug, Default)]
pub struct Window {
    ring: Vec<f32>,
    total: usize,
}

impl Window {
    /// Appends samples, forgetting the oldest beyond `capacity`.
    pub fn push(&mut self, samples: &[f32], capacity: usize) {
        let skipped = samples.len().saturating_sub(capacity);
        if skipped > 0 {
            // The whole ring is about to be replaced; its phase must follow the total.
            self.ring.resize(capacity, f32::NAN);
            self.total += skipped;
        }
        for sample in &samples[skipped..] {
            if self.ring.len() < capacity {
                self.ring.push(*sample);
            } else {
                self.ring[self.total % capacity] = *sample;
            }
            self.total += 1;
        }
    }

    /// The finite samples in the window.
    pub fn finite(&self) -> impl Iterator<Item = f64> + '_ {
        self.ring.iter().filter(|sample| sample.is_finite()).map(|sample| f64::from(*sample))
    }

    fn first(&self) -> usize {
        self.total - self.ring.len()
    }

    fn get(&self, n: usize) -> f32 {
        self.ring[n % self.ring.len()]
    }
}

/// The tokens that every window holds with a finite sample: one list of risks a checkpoint.
#[must_use]
pub fn complete_tokens(windows: &[Window]) -> Vec<Vec<f32>> {
    let start = windows.iter().map(Window::first).max().unwrap_or(0);
    let end = windows.iter().map(|window| window.total).min().unwrap_or(0);
    let complete = |n: &usize| windows.iter().all(|window| window.get(*n).is_finite());
    let kept: Vec<usize> = (start..end).filter(complete).collect();
    windows.iter().map(|window| kept.iter().map(|n| window.get(*n)).collect()).collect()
}

/// The state of a route after its windows took `samples` at one checkpoint.
///
/// During the warm-up nothing changes until every checkpoint has enough finite samples; then all
/// thresholds are set. Afterwards the threshold of `checkpoint` moves towards the batch's
/// quantile. Either way the confidence targets are solved anew.
///
/// # Errors
/// None in practice: the quantile is only asked of finite samples.
pub fn updated(
    settings: &Settings,
    route: usize,
    state: &RouteState,
    windows: &[Window],
    checkpoint: usize,
    samples: &[f32],
) -> Result<RouteState> {
    let layers = &settings.routes[route];
    let mut next = state.clone();
    if state.calibrated {
        let mut batch: Vec<f64> = finite(samples).collect();
        if batch.is_empty() {
            return Ok(next);
        }
        let quantile = math::quantile(&mut batch, level(settings, layers, checkpoint))?;
        let moved = settings.alpha * quantile + (1.0 - settings.alpha) * state.thresholds[checkpoint];
        next.thresholds[checkpoint] = moved.max(MIN_THRESHOLD);
    } else {
        let enough = |window: &Window| window.finite().count() >= settings.calibration_steps;
        if !windows.iter().all(enough) {
            return Ok(next);
        }
        for (i, window) in windows.iter().enumerate() {
            let mut samples: Vec<f64> = window.finite().collect();
            let quantile = math::quantile(&mut samples, level(settings, layers, i))?;
            next.thresholds[i] = quantile.max(MIN_THRESHOLD);
        }
        next.calibrated = true;
    }
    resolve_targets(settings, layers, &mut next, windows);
    Ok(next)
}

fn finite(samples: &[f32]) -> impl Iterator<Item = f64> + '_ {
    samples.iter().filter(|sample| sample.is_finite()).map(|sample| f64::from(*sample))
}

/// The quantile that sets a threshold.
fn level(settings: &Settings, route: &Route, checkpoint: usize) -> f64 {
    settings.scale_quantile.unwrap_or(route.layers[checkpoint].target_exit_rate)
}

/// Solves the targets on the window, unless it holds too few complete tokens to mean much (after a
/// load, or where samples that are not finite left gaps): half a warm-up is the least.
fn resolve_targets(settings: &Settings, route: &Route, state: &mut RouteState, windows: &[Window]) {
    let risk = complete_tokens(windows);
    if risk[0].len() * 2 >= settings.calibration_steps {
        let decay = settings.confidence_decay as f32;
        state.confidence_targets =
            solve_targets(&risk, route, &state.thresholds, &state.confidence_targets, decay);
    }
}

/// The confidence targets at which the share of tokens that has exited up to each checkpoint is
/// its target exit rate, as near as ties allow. A token without any confidence never exits.
///
/// `risk` holds one list a checkpoint, all of one length. A target that the caller set in the
/// route is kept and counted. `before` serves where there is nothing to solve on.
#[must_use]
pub fn solve_targets(
    risk: &[Vec<f32>],
    route: &Route,
    thresholds: &[f64],
    before: &[f64],
    decay: f32,
) -> Vec<f64> {
    let tokens = risk[0].len();
    let mut alive: Vec<(usize, f32)> = (0..tokens).map(|token| (token, 0.0)).collect();
    let mut targets = Vec::with_capacity(risk.len());
    for (i, risk) in risk.iter().enumerate() {
        let layer = &route.layers[i];
        let checkpoint = Checkpoint::new(layer.layer_idx, thresholds[i], route.weight(i), 0.0);
        for (token, c) in &mut alive {
            *c = accumulate(&checkpoint, decay, *c, risk[*token]);
        }
        let exited = tokens - alive.len();
        let wanted = ((layer.target_exit_rate * tokens as f64).round() as usize).saturating_sub(exited);
        let solved = || target_for(alive.iter().map(|(_, c)| *c).collect(), wanted).map(f64::from);
        let target = layer.confidence_target.or_else(solved).unwrap_or(before[i]);
        alive.retain(|(_, c)| *c < target as f32);
        targets.push(target);
    }
    targets
}

/// The target that `wanted` of the scores reach; among tied scores the nearest count, and the
/// smaller where two are as near. `None` if no score is above 0.
fn target_for(mut scores: Vec<f32>, wanted: usize) -> Option<f32> {
    scores.retain(|score| *score > 0.0);
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    let largest = *scores.first()?;
    if wanted == 0 {
        return Some(largest.next_up());
    }
    let last = scores[wanted.min(scores.len()) - 1];
    let above = scores.partition_point(|score| *score > last);
    let reaching = scores.partition_point(|score| *score >= last);
    if reaching.abs_diff(wanted) < wanted - above {
        return Some(last);
    }
    Some(if above == 0 { last.next_up() } else { scores[above - 1] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_keeps_the_latest_samples_in_phase() {
        let mut window = Window::default();
        window.push(&[1.0, 2.0], 3);
        window.push(&[3.0, 4.0], 3);
        assert_eq!((1..4).map(|n| window.get(n)).collect::<Vec<_>>(), [2.0, 3.0, 4.0]);
        window.push(&[5.0, 6.0, 7.0, 8.0, 9.0], 3);
        assert_eq!((6..9).map(|n| window.get(n)).collect::<Vec<_>>(), [7.0, 8.0, 9.0]);
        assert_eq!(window.first(), 6);
    }

    #[test]
    fn only_tokens_known_to_every_checkpoint_are_complete() {
        let (mut a, mut b) = (Window::default(), Window::default());
        a.push(&[1.0, f32::NAN, 3.0, 4.0], 8);
        b.push(&[10.0, 20.0, 30.0], 8);
        assert_eq!(complete_tokens(&[a, b]), [[1.0, 3.0], [10.0, 30.0]]);
    }

    #[test]
    fn ties_are_split_to_the_nearer_side() {
        let scores = vec![0.9, 0.5, 0.5, 0.5, 0.1];
        assert_eq!(target_for(scores.clone(), 1), Some(0.9));
        assert_eq!(target_for(scores.clone(), 2), Some(0.9), "1 is nearer to 2 than 4");
        assert_eq!(target_for(scores.clone(), 3), Some(0.5), "4 is nearer to 3 than 1");
        assert_eq!(target_for(scores.clone(), 9), Some(0.1));
        assert!(target_for(scores, 0).unwrap() > 0.9);
        assert!(target_for(vec![0.5; 9], 2).unwrap() > 0.5, "none is nearer to 2 than 9");
        assert_eq!(target_for(vec![0.0; 9], 2), None, "no confidence, no exit");
    }
}
