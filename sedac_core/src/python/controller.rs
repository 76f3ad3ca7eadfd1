//! `CascadeController` for Python.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyDictMethods};

use crate::config::{Mode, Options};
use crate::controller::Controller;
use crate::kernel::ExitSlices;
use crate::persist;
use crate::python::arrays::{check_rows, matrix, stretches, vector};
use crate::python::decisions::{ExitArrays, ExitDecision, decisions};
use crate::python::detached;
use crate::python::layer_config::{LayerConfig, unwrapped};
use crate::python::run::CascadeRun;
use crate::snapshot::RouteState;

/// Decides exits for batches of tokens. Any number of threads may share one.
///
/// layer_configs: the checkpoints; None: layers 7, 14 and 21 with exit rates 0.2, 0.5 and 0.8.
/// alpha: step of the thresholds' moving average after calibration, in [0, 1].
/// confidence_decay: decay between checkpoints, in [0, 1]; None reads SEDAC_CONFIDENCE_DECAY.
/// soft_exit_enabled: skip a share of the work at an exit (True) or all of it (False); None reads
///     SEDAC_SOFT_EXIT.
/// calibration_steps: finite samples needed of every checkpoint before thresholds are set.
/// mode: "accumulate", or "single_layer", the older rule: hard exit at the first r < threshold.
/// routes: further groups of tokens by name, each with as many LayerConfigs as layer_configs.
/// strict: refuse a negative or non-finite risk (True), or count it and treat it as not confident.
/// adaptive_decay: let the decay follow each step's uncertainty and recent right exits.
/// calibration_window: samples kept a checkpoint for solving the confidence targets.
/// scale_quantile: quantile of the samples that sets the thresholds, in (0, 1]; None: each layer's
///     target exit rate.
/// model_depth: number of layers of the model, to check layer_idx against.
///
/// ValueError names the first value that is wrong.
#[pyclass(frozen, module = "sedac_core")]
pub struct CascadeController {
    inner: Arc<Controller>,
}

#[pymethods]
impl CascadeController {
    #[new]
    #[pyo3(signature = (
        layer_configs=None, alpha=0.1, confidence_decay=None, soft_exit_enabled=None,
        calibration_steps=50, mode="accumulate", *, routes=None, strict=true, adaptive_decay=false,
        calibration_window=2048, scale_quantile=None, model_depth=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "the names are those of the Python interface")]
    fn new(
        layer_configs: Option<Vec<PyRef<'_, LayerConfig>>>,
        alpha: f64,
        confidence_decay: Option<f64>,
        soft_exit_enabled: Option<bool>,
        calibration_steps: i64,
        mode: &str,
        routes: Option<&Bound<'_, PyDict>>,
        strict: bool,
        adaptive_decay: bool,
        calibration_window: i64,
        scale_quantile: Option<f64>,
        model_depth: Option<u32>,
    ) -> PyResult<Self> {
        let options = Options {
            layer_configs: layer_configs.map(unwrapped),
            alpha,
            confidence_decay,
            soft_exit_enabled,
            calibration_steps: count("calibration_steps", calibration_steps)?,
            mode: Mode::parse(mode)?,
            routes: named_routes(routes)?,
            strict,
            adaptive_decay,
            calibration_window: count("calibration_window", calibration_window)?,
            scale_quantile,
            model_depth,
        };
        Ok(Self { inner: Arc::new(Controller::new(options)?) })
    }

    /// Decides for a batch and returns one ExitDecision a token: the convenient form.
    ///
    /// Arguments and errors as for evaluate.
    #[pyo3(signature = (risk, routes=None, uncertainty=None))]
    fn evaluate_batch(
        &self,
        py: Python<'_>,
        risk: &Bound<'_, PyAny>,
        routes: Option<&Bound<'_, PyAny>>,
        uncertainty: Option<Vec<f32>>,
    ) -> PyResult<Vec<ExitDecision>> {
        let settings = Arc::clone(&self.inner.snapshot().settings);
        let (values, rows, batch) = matrix::<f32>("risk", risk, "float32")?;
        check_rows("risk", rows, batch, settings.checkpoints())?;
        let stretches = stretches(&settings, batch, routes)?;
        let mut out = ExitSlices {
            should_exit: &mut vec![false; batch],
            exit_layer: &mut vec![0; batch],
            accumulated_confidence: &mut vec![0.0; batch],
            soft_exit_ratio: &mut vec![0.0; batch],
        };
        let (risk, uncertainty) = (values.as_slice(), uncertainty.unwrap_or_default());
        detached(py, risk.len(), || self.inner.evaluate(risk, &stretches, &uncertainty, &mut out))?;
        Ok(decisions(&out))
    }

    /// Decides for a batch and returns four arrays: the fast form.
    ///
    /// risk: float32[num_layers, batch], finite and >= 0; one row a checkpoint.
    /// routes: the route of each token, by name or by index into route_names; None: default.
    /// uncertainty: one value in [0, 1] a checkpoint; only with adaptive_decay.
    /// out: ExitArrays of this batch to write to and return.
    ///
    /// ValueError for bad input, IndexError for a route index that does not exist; then neither
    /// the controller nor out has changed.
    #[pyo3(signature = (risk, routes=None, uncertainty=None, out=None))]
    fn evaluate(
        &self,
        py: Python<'_>,
        risk: &Bound<'_, PyAny>,
        routes: Option<&Bound<'_, PyAny>>,
        uncertainty: Option<Vec<f32>>,
        out: Option<Py<ExitArrays>>,
    ) -> PyResult<Py<ExitArrays>> {
        let settings = Arc::clone(&self.inner.snapshot().settings);
        let (values, rows, batch) = matrix::<f32>("risk", risk, "float32")?;
        check_rows("risk", rows, batch, settings.checkpoints())?;
        let stretches = stretches(&settings, batch, routes)?;
        let out = ExitArrays::given_or_new(py, out, batch)?;
        let (risk, uncertainty) = (values.as_slice(), uncertainty.unwrap_or_default());
        out.get().write(py, batch, |slices| {
            detached(py, risk.len(), || self.inner.evaluate(risk, &stretches, &uncertainty, slices))
        })?;
        Ok(out)
    }

    /// Starts a run over a batch that is fed checkpoint by checkpoint.
    ///
    /// routes: the route of each token, by name or by index into route_names; None: default.
    /// ValueError or IndexError for routes that do not fit.
    #[pyo3(signature = (batch, routes=None))]
    fn begin(&self, batch: i64, routes: Option<&Bound<'_, PyAny>>) -> PyResult<CascadeRun> {
        let batch = count("batch", batch)?;
        let stretches = stretches(&self.inner.snapshot().settings, batch, routes)?;
        Ok(CascadeRun { inner: self.inner.begin(batch, stretches) })
    }

    /// Takes samples of one checkpoint and returns its threshold afterwards.
    ///
    /// samples: float32[n]; the n-th sample of each checkpoint must be of the same token. Samples
    /// that are not finite are counted and left out. Threads that sample concurrently use
    /// update_thresholds, which keeps tokens together.
    /// IndexError for a checkpoint that does not exist, ValueError for bad samples or an unknown
    /// route; then nothing has changed.
    #[pyo3(signature = (checkpoint, samples, route="default"))]
    fn update_threshold(
        &self,
        py: Python<'_>,
        checkpoint: i64,
        samples: &Bound<'_, PyAny>,
        route: &str,
    ) -> PyResult<f64> {
        let route = self.inner.snapshot().settings.route_index(route)?;
        let values = vector("samples", samples)?;
        let samples = values.as_slice();
        Ok(py.detach(|| self.inner.update_threshold(route, checkpoint, samples))?)
    }

    /// Takes samples of every checkpoint, of the same tokens, in one atomic step.
    ///
    /// risk: float32[num_layers, n]. Returns the thresholds afterwards. Errors as for
    /// update_threshold.
    #[pyo3(signature = (risk, route="default"))]
    fn update_thresholds(&self, py: Python<'_>, risk: &Bound<'_, PyAny>, route: &str) -> PyResult<Vec<f64>> {
        let settings = Arc::clone(&self.inner.snapshot().settings);
        let route = settings.route_index(route)?;
        let (values, rows, columns) = matrix::<f32>("risk", risk, "float32")?;
        check_rows("risk", rows, columns, settings.checkpoints())?;
        let risk = values.as_slice();
        Ok(py.detach(|| self.inner.update_thresholds(route, risk))?)
    }

    /// Records whether exits turned out right, in order, for the bonus of adaptive decay.
    fn record_outcomes(&self, right: Vec<bool>) {
        self.inner.record_outcomes(&right);
    }

    /// Back to the thresholds and targets before calibration, for every route.
    fn reset_calibration(&self, py: Python<'_>) {
        py.detach(|| self.inner.reset_calibration());
    }

    /// Writes settings, thresholds and targets to a JSON file (whole or not at all).
    ///
    /// OSError if it cannot be written.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        Ok(py.detach(|| persist::save(&self.inner, &path))?)
    }

    /// Takes over the controller saved in a file. Sample windows, outcomes and counters start
    /// afresh; runs that have begun keep what they began with.
    ///
    /// OSError if it cannot be read, ValueError if it is of another version or no such file; then
    /// nothing has changed.
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        Ok(py.detach(|| persist::load(&self.inner, &path))?)
    }

    /// Thresholds, confidence targets and whether it is calibrated, of one route.
    ///
    /// ValueError for a route that does not exist.
    fn route_state<'py>(&self, py: Python<'py>, route: &str) -> PyResult<Bound<'py, PyDict>> {
        let index = self.inner.snapshot().settings.route_index(route)?;
        let state = self.state(index);
        let dict = PyDict::new(py);
        dict.set_item("thresholds", state.thresholds)?;
        dict.set_item("confidence_targets", state.confidence_targets)?;
        dict.set_item("calibrated", state.calibrated)?;
        Ok(dict)
    }

    /// Threshold of each checkpoint of the default route, in units of risk.
    #[getter]
    fn thresholds(&self) -> Vec<f64> {
        self.state(0).thresholds
    }

    /// Confidence that triggers the exit at each checkpoint of the default route.
    #[getter]
    fn confidence_targets(&self) -> Vec<f64> {
        self.state(0).confidence_targets
    }

    /// Whether the warm-up of the default route is over.
    #[getter]
    fn is_calibrated(&self) -> bool {
        self.state(0).calibrated
    }

    /// Counters: calls, tokens, exits_per_layer (by layer_idx), ignored_samples.
    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.inner.snapshot().stats.counts();
        let exits = PyDict::new(py);
        for (layer, count) in counts.exits {
            exits.set_item(layer, count)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("calls", counts.calls)?;
        dict.set_item("tokens", counts.tokens)?;
        dict.set_item("exits_per_layer", exits)?;
        dict.set_item("ignored_samples", counts.ignored)?;
        Ok(dict)
    }

    /// The checkpoints of the default route, with the weights that hold.
    #[getter]
    fn layer_configs(&self) -> Vec<LayerConfig> {
        let layers = self.inner.snapshot().settings.routes[0].layers.clone();
        layers.into_iter().map(|inner| LayerConfig { inner }).collect()
    }

    /// Names of the routes; the first is "default".
    #[getter]
    fn route_names(&self) -> Vec<String> {
        self.inner.snapshot().settings.routes.iter().map(|route| route.name.clone()).collect()
    }

    /// Step of the thresholds' moving average.
    #[getter]
    fn alpha(&self) -> f64 {
        self.inner.snapshot().settings.alpha
    }

    /// Decay of the accumulated confidence between checkpoints.
    #[getter]
    fn confidence_decay(&self) -> f64 {
        self.inner.snapshot().settings.confidence_decay
    }

    /// Whether an exit skips a share of the work rather than all of it.
    #[getter]
    fn soft_exit_enabled(&self) -> bool {
        self.inner.snapshot().settings.soft_exit_enabled
    }

    /// Finite samples needed of every checkpoint before thresholds are set.
    #[getter]
    fn calibration_steps(&self) -> usize {
        self.inner.snapshot().settings.calibration_steps
    }

    /// "accumulate" or "single_layer".
    #[getter]
    fn mode(&self) -> &'static str {
        self.inner.snapshot().settings.mode.name()
    }

    /// Whether a negative or non-finite risk is refused.
    #[getter]
    fn strict(&self) -> bool {
        self.inner.snapshot().settings.strict
    }
}

impl CascadeController {
    fn state(&self, route: usize) -> RouteState {
        self.inner.snapshot().states[route].clone()
    }
}

fn count(name: &'static str, value: i64) -> crate::Result<usize> {
    let refused = |_| crate::Error::Parameter { name, value: value.to_string(), expected: "at least 0" };
    usize::try_from(value).map_err(refused)
}

fn named_routes(
    routes: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<(String, Vec<crate::config::LayerConfig>)>> {
    let Some(routes) = routes else { return Ok(Vec::new()) };
    let named = |(name, layers): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        Ok((name.extract()?, unwrapped(layers.extract()?)))
    };
    routes.iter().map(named).collect()
}
