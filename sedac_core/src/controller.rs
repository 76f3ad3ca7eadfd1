//! The controller: evaluations read a snapshot, updates publish the next one.
//!
//! Why no update is lost and no evaluation waits: every writer holds the mutex of the sample
//! windows from before it reads the current snapshot until after it has stored its successor, so
//! the read-modify-writes are in one total order and each starts from the result of the one
//! before. Readers never take that mutex; they load an atomic pointer (`arc-swap`, wait-free) to a
//! snapshot that nobody changes any more, and so see all of an update or nothing of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::calibration::{Window, updated};
use crate::config::{Options, Settings};
use crate::decay::{Outcomes, check_uncertainty};
use crate::error::{Error, Result};
use crate::kernel::{ExitSlices, NO_EXIT, conclude, count_invalid, is_valid, step};
use crate::parallel::{BLOCK, PARALLEL_FROM, pool};
use crate::routes::{Stretch, within};
use crate::run::Run;
use crate::snapshot::{RouteState, Snapshot};

/// Decides exits for batches of tokens; shared by any number of threads.
#[derive(Debug)]
pub struct Controller {
    snapshot: ArcSwap<Snapshot>,
    windows: Mutex<Vec<Vec<Window>>>,
    outcomes: Outcomes,
}

impl Controller {
    /// A controller before calibration.
    ///
    /// # Errors
    /// The variant of [`Error`] for the first option that is wrong.
    pub fn new(options: Options) -> Result<Self> {
        let settings = Settings::resolve(options)?;
        Ok(Self {
            windows: Mutex::new(empty_windows(&settings)),
            snapshot: ArcSwap::from_pointee(Snapshot::initial(settings)),
            outcomes: Outcomes::default(),
        })
    }

    /// What an evaluation that starts now reads.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The bonus of adaptive decay that recent right exits give.
    #[must_use]
    pub fn bonus(&self) -> f32 {
        self.outcomes.bonus()
    }

    /// Records whether exits turned out right, for the bonus of adaptive decay.
    pub fn record_outcomes(&self, right: &[bool]) {
        self.outcomes.record(right);
    }

    /// Decides for a whole batch.
    ///
    /// `risk` has one row of `out.len()` tokens a checkpoint; `stretches` cover the batch;
    /// `uncertainty` has one value a checkpoint, or is empty.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Risk`] (strict mode) or the errors of [`check_uncertainty`]; then
    /// neither the counters nor `out` have changed.
    pub fn evaluate(
        &self,
        risk: &[f32],
        stretches: &[Stretch],
        uncertainty: &[f32],
        out: &mut ExitSlices<'_>,
    ) -> Result<()> {
        let pool = if out.len() >= PARALLEL_FROM { pool() } else { None };
        self.evaluate_on(pool.as_deref(), risk, stretches, uncertainty, out)
    }

    /// As [`Controller::evaluate`], on these threads, or on the caller's alone.
    ///
    /// # Errors
    /// As [`Controller::evaluate`].
    pub fn evaluate_on(
        &self,
        pool: Option<&ThreadPool>,
        risk: &[f32],
        stretches: &[Stretch],
        uncertainty: &[f32],
        out: &mut ExitSlices<'_>,
    ) -> Result<()> {
        let snapshot = self.snapshot.load();
        let checkpoints = snapshot.settings.checkpoints();
        let batch = out.len();
        if risk.len() != checkpoints * batch {
            return Err(shape("risk", &[checkpoints, batch], risk.len()));
        }
        if !uncertainty.is_empty() && uncertainty.len() != checkpoints {
            return Err(shape("uncertainty", &[checkpoints], uncertainty.len()));
        }
        for value in uncertainty {
            check_uncertainty(snapshot.settings.adaptive_decay, *value)?;
        }
        let mut run = || -> Result<()> {
            let ignored = check_risk(risk, batch, 0, snapshot.settings.strict)?;
            let bonus = self.outcomes.bonus();
            let decay = |i: usize| snapshot.decay(uncertainty.get(i).copied().unwrap_or(0.0), bonus);
            let job = Job { snapshot: &snapshot, risk, batch, stretches, decay: &decay };
            if pool.is_some() {
                job.run_parallel(out)
            } else {
                job.run_serial(out)
            }
            snapshot.stats.record_call(out.exit_layer, ignored);
            Ok(())
        };
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
    }

    /// Starts a run over a batch that is fed checkpoint by checkpoint.
    #[must_use]
    pub fn begin(self: &Arc<Self>, batch: usize, stretches: Vec<Stretch>) -> Run {
        Run::new(Arc::clone(self), batch, stretches)
    }

    /// Takes samples of one checkpoint of a route, and returns its threshold afterwards.
    ///
    /// The n-th sample of each checkpoint must be of the same token. Samples that are not finite
    /// are counted and left out. Threads that sample several checkpoints concurrently use
    /// [`Controller::update_thresholds`], which keeps the tokens together.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], or in strict mode [`Error::Risk`] for a negative sample; then nothing
    /// has changed.
    pub fn update_threshold(&self, route: usize, checkpoint: i64, samples: &[f32]) -> Result<f64> {
        let mut windows = self.lock();
        let current = self.snapshot.load_full();
        let count = current.settings.checkpoints();
        let index = usize::try_from(checkpoint).ok().filter(|index| *index < count);
        let index = index.ok_or(Error::Checkpoint { index: checkpoint, count })?;
        let (samples, ignored) = usable(samples, index, current.settings.strict)?;
        self.publish(&mut windows, &current, route, &[(index, samples)])?;
        current.stats.record_ignored(ignored);
        Ok(self.snapshot.load().states[route].thresholds[index])
    }

    /// Takes samples of every checkpoint of a route, of the same tokens, in one step.
    ///
    /// `risk` has one row a checkpoint, all of one length. Returns the thresholds afterwards.
    ///
    /// # Errors
    /// [`Error::Shape`], or in strict mode [`Error::Risk`] for a negative sample; then nothing has
    /// changed.
    pub fn update_thresholds(&self, route: usize, risk: &[f32]) -> Result<Vec<f64>> {
        let mut windows = self.lock();
        let current = self.snapshot.load_full();
        let count = current.settings.checkpoints();
        let tokens = risk.len() / count;
        if risk.len() != tokens * count {
            return Err(shape("risk", &[count, tokens], risk.len()));
        }
        let rows = (0..count).map(|i| usable(&risk[i * tokens..][..tokens], i, current.settings.strict));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let ignored = rows.iter().map(|(_, ignored)| ignored).sum();
        let rows: Vec<_> = rows.into_iter().enumerate().map(|(i, (samples, _))| (i, samples)).collect();
        self.publish(&mut windows, &current, route, &rows)?;
        current.stats.record_ignored(ignored);
        Ok(self.snapshot.load().states[route].thresholds.clone())
    }

    /// Back to the thresholds and targets before calibration, for every route.
    pub fn reset_calibration(&self) {
        let mut windows = self.lock();
        let current = self.snapshot.load_full();
        let states = current.settings.routes.iter().map(RouteState::initial).collect();
        *windows = empty_windows(&current.settings);
        let (settings, stats) = (Arc::clone(&current.settings), Arc::clone(&current.stats));
        self.snapshot.store(Arc::new(Snapshot::new(settings, states, stats)));
    }

    /// Takes over everything of a saved controller; windows, outcomes and counters start afresh.
    pub fn replace(&self, settings: Settings, states: Vec<RouteState>) {
        let mut windows = self.lock();
        *windows = empty_windows(&settings);
        self.outcomes.clear();
        let fresh = Snapshot::initial(settings);
        self.snapshot.store(Arc::new(Snapshot::new(fresh.settings, states, fresh.stats)));
    }

    fn publish(
        &self,
        windows: &mut [Vec<Window>],
        current: &Snapshot,
        route: usize,
        rows: &[(usize, Vec<f32>)],
    ) -> Result<()> {
        let settings = &current.settings;
        for (checkpoint, samples) in rows {
            windows[route][*checkpoint].push(samples, settings.calibration_window);
        }
        let mut state = current.states[route].clone();
        let was_calibrated = state.calibrated;
        for (checkpoint, samples) in rows {
            state = updated(settings, route, &state, &windows[route], *checkpoint, samples)?;
            if state.calibrated != was_calibrated {
                // The warm-up has just ended; it used every row's samples.
                break;
            }
        }
        self.snapshot.store(Arc::new(current.with_state(route, state)));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Window>>> {
        // A panic of another writer leaves windows that are whole; at worst samples are missing.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One evaluation of one batch.
struct Job<'a, F> {
    snapshot: &'a Snapshot,
    risk: &'a [f32],
    batch: usize,
    stretches: &'a [Stretch],
    decay: &'a F,
}

impl<F: Fn(usize) -> f32 + Sync> Job<'_, F> {
    fn run_serial(&self, out: &mut ExitSlices<'_>) {
        for start in (0..self.batch).step_by(BLOCK) {
            let end = self.batch.min(start + BLOCK);
            self.block(start, &mut out.range(start, end));
        }
    }

    fn run_parallel(&self, out: &mut ExitSlices<'_>) {
        let blocks = (
            out.should_exit.par_chunks_mut(BLOCK),
            out.exit_layer.par_chunks_mut(BLOCK),
            out.accumulated_confidence.par_chunks_mut(BLOCK),
            out.soft_exit_ratio.par_chunks_mut(BLOCK),
        );
        blocks.into_par_iter().enumerate().for_each(
            |(i, (should_exit, exit_layer, accumulated_confidence, soft_exit_ratio))| {
                let mut out = ExitSlices { should_exit, exit_layer, accumulated_confidence, soft_exit_ratio };
                self.block(i * BLOCK, &mut out);
            },
        );
    }

    /// All checkpoints of the tokens from `start` on that `out` has place for.
    fn block(&self, start: usize, out: &mut ExitSlices<'_>) {
        let end = start + out.len();
        out.exit_layer.fill(NO_EXIT);
        out.accumulated_confidence.fill(0.0);
        out.soft_exit_ratio.fill(0.0);
        for i in 0..self.snapshot.settings.checkpoints() {
            let row = &self.risk[i * self.batch..][..self.batch];
            let decay = (self.decay)(i);
            for stretch in within(self.stretches, start, end) {
                let checkpoint = &self.snapshot.plans[stretch.route][i];
                let mut part = out.range(stretch.start - start, stretch.end - start);
                step(checkpoint, decay, &row[stretch.start..stretch.end], &mut part.as_tokens());
            }
        }
        conclude(self.snapshot.soft(), out);
    }
}

/// The number of risks that do not count; in strict mode an error if there is one. `risk` holds
/// rows of `batch` tokens, the first of them of checkpoint `first`.
pub(crate) fn check_risk(risk: &[f32], batch: usize, first: usize, strict: bool) -> Result<u64> {
    let mut invalid = 0;
    count_invalid(risk, &mut invalid);
    if invalid > 0 && strict {
        let found = risk.iter().position(|value| !is_valid(*value)).unwrap_or(0);
        let (checkpoint, token) = (first + found / batch, found % batch);
        return Err(Error::Risk { value: risk[found], checkpoint, token });
    }
    Ok(invalid)
}

/// The samples with NaN for every one that does not count, and how many those are.
fn usable(samples: &[f32], checkpoint: usize, strict: bool) -> Result<(Vec<f32>, u64)> {
    let negative = |sample: &f32| sample.is_finite() && *sample < 0.0;
    if let Some(token) = samples.iter().position(negative).filter(|_| strict) {
        return Err(Error::Risk { value: samples[token], checkpoint, token });
    }
    let kept = samples.iter().map(|sample| if is_valid(*sample) { *sample } else { f32::NAN });
    let mut ignored = 0;
    count_invalid(samples, &mut ignored);
    Ok((kept.collect(), ignored))
}

fn empty_windows(settings: &Settings) -> Vec<Vec<Window>> {
    vec![vec![Window::default(); settings.checkpoints()]; settings.routes.len()]
}

/// The error of a flat input of `got` values where `expected` is needed.
pub(crate) fn shape(what: &'static str, expected: &[usize], got: usize) -> Error {
    Error::Shape { what, expected: shape_text(expected), got: shape_text(&[got]) }
}

/// A shape as numpy writes it.
pub(crate) fn shape_text(sizes: &[usize]) -> String {
    let texts: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    format!("({}{comma})", texts.join(", "))
}
