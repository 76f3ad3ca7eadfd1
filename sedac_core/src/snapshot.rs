//! What one evaluation needs, frozen: settings, thresholds and targets of every route.
//!
//! A snapshot never changes once it is published. Writers build the next one and swap a pointer;
//! a run keeps the one that it began with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Mode, Route, Settings};
use crate::decay;
use crate::kernel::Checkpoint;
use crate::stats::Stats;

/// What calibration settles for a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteState {
    /// Threshold of each checkpoint.
    pub thresholds: Vec<f64>,
    /// Confidence target of each checkpoint.
    pub confidence_targets: Vec<f64>,
    /// Whether the warm-up is over.
    pub calibrated: bool,
}

impl RouteState {
    /// The state before calibration.
    #[must_use]
    pub fn initial(route: &Route) -> Self {
        let target = |i: usize| route.layers[i].confidence_target.unwrap_or(route.layers[i].target_exit_rate);
        Self {
            thresholds: route.layers.iter().map(|layer| layer.initial_threshold).collect(),
            confidence_targets: (0..route.layers.len()).map(target).collect(),
            calibrated: false,
        }
    }

    /// The route's checkpoints as the loops need them.
    ///
    /// The single-layer rule is the same loop: with decay 0 and weight 1 the accumulated
    /// confidence is the layer's own, and `r < tau` holds exactly where that is above 0.
    #[must_use]
    pub fn checkpoints(&self, route: &Route, mode: Mode) -> Vec<Checkpoint> {
        let build = |i: usize| {
            let (weight, target) = match mode {
                Mode::Accumulate => (route.weight(i), self.confidence_targets[i]),
                Mode::SingleLayer => (1.0, f64::from(f32::MIN_POSITIVE)),
            };
            Checkpoint::new(route.layers[i].layer_idx, self.thresholds[i], weight, target)
        };
        (0..route.layers.len()).map(build).collect()
    }
}

/// Everything that an evaluation reads.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The controller's settings.
    pub settings: Arc<Settings>,
    /// One state a route.
    pub states: Vec<RouteState>,
    /// One list of checkpoints a route, derived from its state.
    pub plans: Vec<Vec<Checkpoint>>,
    /// Where evaluations are counted.
    pub stats: Arc<Stats>,
}

impl Snapshot {
    /// The snapshot of these states.
    #[must_use]
    pub fn new(settings: Arc<Settings>, states: Vec<RouteState>, stats: Arc<Stats>) -> Self {
        let pairs = states.iter().zip(&settings.routes);
        let plans = pairs.map(|(state, route)| state.checkpoints(route, settings.mode)).collect();
        Self { settings, states, plans, stats }
    }

    /// The snapshot before calibration, with counters at zero.
    #[must_use]
    pub fn initial(settings: Settings) -> Self {
        let states = settings.routes.iter().map(RouteState::initial).collect();
        let stats = Arc::new(Stats::new(&settings));
        Self::new(Arc::new(settings), states, stats)
    }

    /// This snapshot with another state of one route.
    #[must_use]
    pub fn with_state(&self, route: usize, state: RouteState) -> Self {
        let mut states = self.states.clone();
        states[route] = state;
        Self::new(Arc::clone(&self.settings), states, Arc::clone(&self.stats))
    }

    /// Whether exits are soft; the single-layer rule only knows hard ones.
    #[must_use]
    pub fn soft(&self) -> bool {
        self.settings.soft_exit_enabled && self.settings.mode == Mode::Accumulate
    }

    /// The decay of a step with this uncertainty and bonus.
    #[must_use]
    pub fn decay(&self, uncertainty: f32, bonus: f32) -> f32 {
        let decay = self.settings.confidence_decay as f32;
        match (self.settings.mode, self.settings.adaptive_decay) {
            (Mode::SingleLayer, _) => 0.0,
            (Mode::Accumulate, false) => decay,
            (Mode::Accumulate, true) => decay::decay_of_step(decay, uncertainty, bonus),
        }
    }
}
