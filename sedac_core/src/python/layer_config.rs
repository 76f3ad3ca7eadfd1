//! `LayerConfig` for Python.

use pyo3::prelude::*;

use crate::config;
use crate::error::Result;

/// One checkpoint of the model.
///
/// layer_idx: the model's layer after which the probe runs, counted from 0.
/// target_exit_rate: share of tokens that should have exited at or before it, in (0, 1].
/// initial_threshold: scale of the confidence before calibration, >= 1e-6, in units of risk.
/// confidence_weight: weight of its confidence, >= 0; None reads SEDAC_LAYER_WEIGHTS.
/// confidence_target: confidence that triggers the exit, > 0; None: the target exit rate until
///     calibration solves it. A value given here is kept through calibration.
///
/// ValueError names the first value outside its range.
#[pyclass(frozen, eq, module = "sedac_core")]
#[derive(Clone, PartialEq)]
pub struct LayerConfig {
    /// The checked configuration.
    pub inner: config::LayerConfig,
}

#[pymethods]
impl LayerConfig {
    #[new]
    #[pyo3(signature = (layer_idx, target_exit_rate, initial_threshold, confidence_weight=None, confidence_target=None))]
    fn new(
        layer_idx: i64,
        target_exit_rate: f64,
        initial_threshold: f64,
        confidence_weight: Option<f64>,
        confidence_target: Option<f64>,
    ) -> Result<Self> {
        let inner = config::LayerConfig::new(
            layer_idx,
            target_exit_rate,
            initial_threshold,
            confidence_weight,
            confidence_target,
        )?;
        Ok(Self { inner })
    }

    /// The model's layer, counted from 0.
    #[getter]
    fn layer_idx(&self) -> u32 {
        self.inner.layer_idx
    }

    /// Share of tokens that should have exited at or before this layer.
    #[getter]
    fn target_exit_rate(&self) -> f64 {
        self.inner.target_exit_rate
    }

    /// Threshold before calibration, in units of risk.
    #[getter]
    fn initial_threshold(&self) -> f64 {
        self.inner.initial_threshold
    }

    /// Weight of this layer's confidence, or None for the environment's.
    #[getter]
    fn confidence_weight(&self) -> Option<f64> {
        self.inner.confidence_weight
    }

    /// Confidence that triggers the exit, or None for a solved one.
    #[getter]
    fn confidence_target(&self) -> Option<f64> {
        self.inner.confidence_target
    }

    fn __repr__(&self) -> String {
        let optional = |value: Option<f64>| value.map_or_else(|| "None".into(), |value| format!("{value:?}"));
        let config::LayerConfig { layer_idx, target_exit_rate, initial_threshold, .. } = self.inner;
        format!(
            "LayerConfig(layer_idx={layer_idx}, target_exit_rate={target_exit_rate:?}, \
             initial_threshold={initial_threshold:?}, confidence_weight={}, confidence_target={})",
            optional(self.inner.confidence_weight),
            optional(self.inner.confidence_target)
        )
    }
}

/// The checked configurations in a list from Python.
pub fn unwrapped(configs: Vec<PyRef<'_, LayerConfig>>) -> Vec<config::LayerConfig> {
    configs.iter().map(|config| config.inner.clone()).collect()
}
