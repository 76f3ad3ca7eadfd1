//! Counters of what a controller did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::config::Settings;
use crate::kernel::count_exits;

/// Counters that any thread may add to. Each is exact; between two of them a reader may see a call
/// half counted.
#[derive(Debug)]
pub struct Stats {
    calls: AtomicU64,
    tokens: AtomicU64,
    ignored: AtomicU64,
    exits: Vec<(i32, AtomicU64)>,
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Finished evaluations and runs.
    pub calls: u64,
    /// Tokens in them.
    pub tokens: u64,
    /// Risks and samples that were left out because they were negative or not finite.
    pub ignored: u64,
    /// Tokens that exited at each layer, by layer.
    pub exits: Vec<(i32, u64)>,
}

impl Stats {
    /// Counters at zero for the layers of all routes.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let layers = settings.routes.iter().flat_map(|route| &route.layers);
        let mut layers: Vec<i32> = layers.map(|layer| layer.layer_idx as i32).collect();
        layers.sort_unstable();
        layers.dedup();
        let exits = layers.into_iter().map(|layer| (layer, AtomicU64::new(0))).collect();
        Self { calls: 0.into(), tokens: 0.into(), ignored: 0.into(), exits }
    }

    /// Counts one finished call with the exit layers of its tokens.
    pub fn record_call(&self, exit_layers: &[i32], ignored: u64) {
        self.calls.fetch_add(1, Relaxed);
        self.tokens.fetch_add(exit_layers.len() as u64, Relaxed);
        self.record_ignored(ignored);
        for (layer, total) in &self.exits {
            let mut count = 0;
            count_exits(exit_layers, *layer, &mut count);
            total.fetch_add(count, Relaxed);
        }
    }

    /// Counts samples that were left out.
    pub fn record_ignored(&self, count: u64) {
        if count > 0 {
            self.ignored.fetch_add(count, Relaxed);
        }
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            calls: self.calls.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            ignored: self.ignored.load(Relaxed),
            exits: self.exits.iter().map(|(layer, total)| (*layer, total.load(Relaxed))).collect(),
        }
    }
}
