//! Streaming: one batch, fed checkpoint by checkpoint inside a forward pass.

use std::sync::Arc;

use crate::controller::{Controller, check_risk, shape};
use crate::decay::check_uncertainty;
use crate::error::{Error, Result};
use crate::kernel::{ExitSlices, NO_EXIT, Tokens, conclude, ratios, step};
use crate::routes::Stretch;
use crate::snapshot::Snapshot;

/// A batch on its way through the checkpoints. All memory is taken at the beginning: `step`,
/// `finish` and `reset` allocate nothing. A run belongs to one thread at a time.
#[derive(Debug)]
pub struct Run {
    controller: Arc<Controller>,
    snapshot: Arc<Snapshot>,
    stretches: Vec<Stretch>,
    bonus: f32,
    confidence: Vec<f32>,
    best: Vec<f32>,
    exit: Vec<i32>,
    next: usize,
    finished: bool,
    ignored: u64,
}

impl Run {
    pub(crate) fn new(controller: Arc<Controller>, batch: usize, stretches: Vec<Stretch>) -> Self {
        Self {
            snapshot: controller.snapshot(),
            bonus: controller.bonus(),
            controller,
            stretches,
            confidence: vec![0.0; batch],
            best: vec![0.0; batch],
            exit: vec![NO_EXIT; batch],
            next: 0,
            finished: false,
            ignored: 0,
        }
    }

    /// Number of tokens.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.exit.len()
    }

    /// Feeds the risks of one checkpoint and writes the skip ratio of every token to `out`.
    ///
    /// Checkpoints come in order from 0, each once; a run may finish early. `uncertainty` is 0
    /// unless the decay is adaptive.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], [`Error::StepOrder`], [`Error::Finished`], [`Error::Shape`],
    /// [`Error::Risk`] (strict mode) or those of [`check_uncertainty`]; then the run is as before.
    pub fn step(&mut self, checkpoint: i64, risk: &[f32], uncertainty: f32, out: &mut [f32]) -> Result<()> {
        let index = self.check_step(checkpoint)?;
        let batch = self.batch();
        if risk.len() != batch {
            return Err(shape("risk", &[batch], risk.len()));
        }
        if out.len() != batch {
            return Err(shape("out", &[batch], out.len()));
        }
        check_uncertainty(self.snapshot.settings.adaptive_decay, uncertainty)?;
        self.ignored += check_risk(risk, batch, index, self.snapshot.settings.strict)?;
        let decay = self.snapshot.decay(uncertainty, self.bonus);
        for Stretch { start, end, route } in self.stretches.iter().copied() {
            let mut tokens = Tokens {
                confidence: &mut self.confidence[start..end],
                best: &mut self.best[start..end],
                exit: &mut self.exit[start..end],
            };
            step(&self.snapshot.plans[route][index], decay, &risk[start..end], &mut tokens);
        }
        ratios(self.snapshot.soft(), &self.best, &self.exit, out);
        self.next += 1;
        Ok(())
    }

    /// Writes the decisions to `out` and counts the run; afterwards only `reset` goes on.
    ///
    /// # Errors
    /// [`Error::Finished`] for a second time, [`Error::Shape`] if `out` is of another length.
    pub fn finish(&mut self, out: &mut ExitSlices<'_>) -> Result<()> {
        if self.finished {
            return Err(Error::Finished);
        }
        if out.len() != self.batch() {
            return Err(shape("out", &[self.batch()], out.len()));
        }
        out.exit_layer.copy_from_slice(&self.exit);
        out.accumulated_confidence.copy_from_slice(&self.confidence);
        out.soft_exit_ratio.copy_from_slice(&self.best);
        conclude(self.snapshot.soft(), out);
        self.snapshot.stats.record_call(out.exit_layer, self.ignored);
        self.finished = true;
        Ok(())
    }

    /// Begins again with the same batch and routes, and with the thresholds as they are now.
    ///
    /// # Errors
    /// [`Error::RouteIndex`] if the controller has meanwhile loaded a file
    /// without the routes of this run.
    pub fn reset(&mut self) -> Result<()> {
        let snapshot = self.controller.snapshot();
        let count = snapshot.plans.len();
        if let Some(stretch) = self.stretches.iter().find(|stretch| stretch.route >= count) {
            return Err(Error::RouteIndex { index: stretch.route as i32, token: stretch.start, count });
        }
        self.snapshot = snapshot;
        self.bonus = self.controller.bonus();
        self.confidence.fill(0.0);
        self.best.fill(0.0);
        self.exit.fill(NO_EXIT);
        self.next = 0;
        self.finished = false;
        self.ignored = 0;
        Ok(())
    }

    fn check_step(&self, checkpoint: i64) -> Result<usize> {
        let count = self.snapshot.settings.checkpoints();
        let index = usize::try_from(checkpoint).ok().filter(|index| *index < count);
        let got = index.ok_or(Error::Checkpoint { index: checkpoint, count })?;
        if self.finished {
            return Err(Error::Finished);
        }
        if got != self.next {
            // All are fed: only a reset goes on.
            let expected = if self.next == count { return Err(Error::Finished) } else { self.next };
            return Err(Error::StepOrder { expected, got });
        }
        Ok(got)
    }
}
