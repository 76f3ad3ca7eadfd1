//! The functions of the Python interface.

use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::calibration::solve_targets;
use crate::config::{Options, Settings};
use crate::controller::{check_risk, shape_text};
use crate::error::{Error, Result};
use crate::fit;
use crate::math;
use crate::python::arrays::{matrix, mismatch, rows, vector};
use crate::python::layer_config::{LayerConfig, unwrapped};

/// Share of the MLP work to skip at accumulated confidence c: tanh(2c - 1) / 2 + 1/2.
///
/// c: a number, or float32 of any shape; finite. Returns a float or an array of that shape.
#[pyfunction]
pub fn soft_exit_ratio<'py>(py: Python<'py>, c: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if c.cast::<PyUntypedArray>().is_err() {
        let value: f64 = c.extract()?;
        check_finite(&[value as f32])?;
        return Ok(f64::from(math::soft_exit_ratio(value as f32)).into_pyobject(py)?.into_any());
    }
    let array: PyReadonlyArrayDyn<'_, f32> =
        c.extract().map_err(|_| mismatch::<f32>("c", c, "of any size", "float32"))?;
    let array = array.as_array();
    check_finite(&array.iter().copied().collect::<Vec<_>>())?;
    Ok(array.mapv(math::soft_exit_ratio).into_pyarray(py).into_any())
}

/// Shannon entropy of probabilities along the last axis, in nats.
///
/// probs: float32[classes] (returns a float) or float32[batch, classes] (returns float32[batch]);
/// each row in [0, 1] and of sum 1 to within 1e-3, else ValueError.
#[pyfunction]
pub fn entropy<'py>(py: Python<'py>, probs: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if !is_matrix(probs) {
        let row = vector("probs", probs)?;
        return Ok(f64::from(math::entropy(row.as_slice())?).into_pyobject(py)?.into_any());
    }
    let (values, count, classes) = matrix::<f32>("probs", probs, "float32")?;
    let row = |i: usize| math::entropy(&values.as_slice()[i * classes..][..classes]);
    let entropies = (0..count).map(row).collect::<Result<Vec<_>>>()?;
    Ok(PyArray1::from_vec(py, entropies).into_any())
}

/// Softmax along the last axis, safe against overflow; -inf marks a masked entry.
///
/// logits: float32[classes] or float32[batch, classes]. Returns the same shape. ValueError for
/// NaN, +inf, or a row with nothing but masked entries.
#[pyfunction]
pub fn softmax<'py>(py: Python<'py>, logits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if !is_matrix(logits) {
        let row = vector("logits", logits)?;
        let mut out = vec![0.0; row.as_slice().len()];
        math::softmax(row.as_slice(), &mut out)?;
        return Ok(PyArray1::from_vec(py, out).into_any());
    }
    let (values, count, classes) = matrix::<f32>("logits", logits, "float32")?;
    let out = PyArray2::<f32>::zeros(py, (count, classes), false);
    {
        let mut out = out.readwrite();
        let slots = out.as_slice_mut()?.chunks_mut(classes.max(1));
        for (row, slot) in values.as_slice().chunks(classes.max(1)).zip(slots) {
            math::softmax(row, slot)?;
        }
    }
    Ok(out.into_any())
}

/// The q-quantile of data by linear interpolation, as numpy's default.
///
/// data: float32[n], n >= 1, no NaN; q in [0, 1]; else ValueError.
#[pyfunction]
pub fn quantile(data: &Bound<'_, PyAny>, q: f64) -> PyResult<f64> {
    let values = vector("data", data)?;
    let mut values: Vec<f64> = values.as_slice().iter().map(|value| f64::from(*value)).collect();
    Ok(math::quantile(&mut values, q)?)
}

/// The confidence targets at which the share of tokens that has exited up to each checkpoint is
/// its target exit rate, at the initial thresholds of layer_configs.
///
/// risk: float32[num_layers, n], finite and >= 0, n >= 1. A confidence_target in layer_configs is
/// kept. Returns one target a checkpoint. ValueError for bad input.
#[pyfunction]
#[pyo3(signature = (risk, layer_configs=None, confidence_decay=None))]
pub fn solve_confidence_targets(
    py: Python<'_>,
    risk: &Bound<'_, PyAny>,
    layer_configs: Option<Vec<PyRef<'_, LayerConfig>>>,
    confidence_decay: Option<f64>,
) -> PyResult<Vec<f64>> {
    let settings = offline_settings(layer_configs, confidence_decay)?;
    let risk = recorded_risk(risk, &settings)?;
    let route = &settings.routes[0];
    let thresholds: Vec<f64> = route.layers.iter().map(|layer| layer.initial_threshold).collect();
    let rates: Vec<f64> = route.layers.iter().map(|layer| layer.target_exit_rate).collect();
    let decay = settings.confidence_decay as f32;
    Ok(py.detach(|| solve_targets(&risk, route, &thresholds, &rates, decay)))
}

/// What fit_weights found.
#[pyclass(frozen, get_all, module = "sedac_core")]
pub struct WeightFit {
    /// Weight of each checkpoint; their sum is that of the given weights.
    weights: Vec<f64>,
    /// The decay that goes with them.
    confidence_decay: f64,
    /// The given configurations with these weights, and with confidence targets at which the
    /// samples exit at the target exit rates.
    layer_configs: Vec<LayerConfig>,
    /// Mean logistic loss of predicting right exits with these weights, in nats.
    log_loss: f64,
    /// The same with the given weights and decay.
    log_loss_before: f64,
}

/// Learns the weights, and if asked the decay, from recorded risks.
///
/// risk: float32[num_layers, n], finite and >= 0, n >= 1.
/// exit_right: bool[num_layers, n]: whether exiting at this checkpoint would have been right.
/// layer_configs, confidence_decay: the starting point, as for CascadeController.
/// fit_decay: also choose the decay, among 0, 0.05, ..., 1.
///
/// ValueError for bad input, or if confidence says nothing about right exits.
#[pyfunction]
#[pyo3(signature = (risk, exit_right, layer_configs=None, confidence_decay=None, fit_decay=false))]
pub fn fit_weights(
    py: Python<'_>,
    risk: &Bound<'_, PyAny>,
    exit_right: &Bound<'_, PyAny>,
    layer_configs: Option<Vec<PyRef<'_, LayerConfig>>>,
    confidence_decay: Option<f64>,
    fit_decay: bool,
) -> PyResult<WeightFit> {
    let settings = offline_settings(layer_configs, confidence_decay)?;
    let risk = recorded_risk(risk, &settings)?;
    let right = rows::<bool>("exit_right", exit_right, "bool", settings.checkpoints())?;
    if right[0].len() != risk[0].len() {
        let shape = |tokens: usize| shape_text(&[settings.checkpoints(), tokens]);
        let (expected, got) = (shape(risk[0].len()), shape(right[0].len()));
        return Err(Error::Shape { what: "exit_right", expected, got }.into());
    }
    let fit = py.detach(|| fit::fit_weights(&risk, &right, &settings, fit_decay))?;
    let mut layers = settings.routes[0].layers.clone();
    for (i, layer) in layers.iter_mut().enumerate() {
        layer.confidence_weight = Some(fit.weights[i]);
        layer.confidence_target = Some(fit.confidence_targets[i]);
    }
    Ok(WeightFit {
        weights: fit.weights,
        confidence_decay: fit.confidence_decay,
        layer_configs: layers.into_iter().map(|inner| LayerConfig { inner }).collect(),
        log_loss: fit.log_loss,
        log_loss_before: fit.log_loss_before,
    })
}

fn offline_settings(
    layer_configs: Option<Vec<PyRef<'_, LayerConfig>>>,
    confidence_decay: Option<f64>,
) -> Result<Settings> {
    let layer_configs = layer_configs.map(unwrapped);
    // Soft or hard makes no difference here, so a malformed SEDAC_SOFT_EXIT should not either.
    let soft_exit_enabled = Some(true);
    Settings::assemble(Options { layer_configs, confidence_decay, soft_exit_enabled, ..Options::default() })
}

fn recorded_risk(risk: &Bound<'_, PyAny>, settings: &Settings) -> Result<Vec<Vec<f32>>> {
    let risk = rows::<f32>("risk", risk, "float32", settings.checkpoints())?;
    if risk[0].is_empty() {
        let expected = "at least one token";
        return Err(Error::Parameter { name: "risk", value: "empty".into(), expected });
    }
    for (i, row) in risk.iter().enumerate() {
        check_risk(row, row.len(), i, true)?;
    }
    Ok(risk)
}

fn is_matrix(object: &Bound<'_, PyAny>) -> bool {
    object.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() == 2)
}

fn check_finite(values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => {
            let value = f64::from(values[index]);
            Err(Error::Value { what: "c", value, index, expected: "finite" })
        }
        None => Ok(()),
    }
}
