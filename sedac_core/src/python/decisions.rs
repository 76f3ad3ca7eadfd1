//! Decisions for Python: one token's, and a batch's in four arrays.

use numpy::{PyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::error::Result;
use crate::kernel::ExitSlices;
use crate::python::arrays::output;

/// The decision on one token.
#[pyclass(frozen, eq, get_all, module = "sedac_core")]
#[derive(Clone, PartialEq)]
pub struct ExitDecision {
    /// Whether the token exits.
    should_exit: bool,
    /// The model's layer of the exit, or -1.
    exit_layer: i32,
    /// The confidence that the ratio follows from: the largest since the exit, or, without an
    /// exit, the last.
    accumulated_confidence: f32,
    /// Share of the MLP work that may be skipped, in [0, 1].
    soft_exit_ratio: f32,
}

#[pymethods]
impl ExitDecision {
    fn __repr__(&self) -> String {
        let flag = if self.should_exit { "True" } else { "False" };
        format!(
            "ExitDecision(should_exit={flag}, exit_layer={}, accumulated_confidence={:?}, soft_exit_ratio={:?})",
            self.exit_layer, self.accumulated_confidence, self.soft_exit_ratio
        )
    }
}

/// The decisions on a batch, in four arrays of one length.
///
/// ExitArrays(batch) makes arrays to reuse as `out`. Iterating gives the four in order.
#[pyclass(frozen, get_all, module = "sedac_core")]
pub struct ExitArrays {
    /// Whether each token exits, bool.
    should_exit: Py<PyArray1<bool>>,
    /// The model's layer of each token's exit, or -1; int32.
    exit_layer: Py<PyArray1<i32>>,
    /// The confidence that the ratio follows from: the largest since the exit, or, without an
    /// exit, the last; float32.
    accumulated_confidence: Py<PyArray1<f32>>,
    /// Share of the MLP work that may be skipped, in [0, 1]; float32.
    soft_exit_ratio: Py<PyArray1<f32>>,
}

#[pymethods]
impl ExitArrays {
    #[new]
    fn new(py: Python<'_>, batch: usize) -> Self {
        Self {
            should_exit: PyArray1::zeros(py, batch, false).unbind(),
            exit_layer: PyArray1::zeros(py, batch, false).unbind(),
            accumulated_confidence: PyArray1::zeros(py, batch, false).unbind(),
            soft_exit_ratio: PyArray1::zeros(py, batch, false).unbind(),
        }
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.exit_layer.bind(py).len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let arrays =
            (&self.should_exit, &self.exit_layer, &self.accumulated_confidence, &self.soft_exit_ratio);
        let arrays: Bound<'py, PyTuple> = arrays.into_pyobject(py)?;
        arrays.try_iter()
    }
}

impl ExitArrays {
    /// The given arrays, or new ones where there are none.
    pub fn given_or_new(py: Python<'_>, out: Option<Py<Self>>, batch: usize) -> PyResult<Py<Self>> {
        out.map_or_else(|| Py::new(py, Self::new(py, batch)), Ok)
    }

    /// Calls `work` with the memory of the arrays, which must hold `batch` tokens.
    pub fn write<T>(
        &self,
        py: Python<'_>,
        batch: usize,
        work: impl FnOnce(&mut ExitSlices<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut should_exit = output("out.should_exit", self.should_exit.bind(py), batch)?;
        let mut exit_layer = output("out.exit_layer", self.exit_layer.bind(py), batch)?;
        let mut confidence =
            output("out.accumulated_confidence", self.accumulated_confidence.bind(py), batch)?;
        let mut ratio = output("out.soft_exit_ratio", self.soft_exit_ratio.bind(py), batch)?;
        // `output` has checked that each is contiguous, which is all that as_slice_mut asks.
        work(&mut ExitSlices {
            should_exit: should_exit.as_slice_mut().unwrap_or_default(),
            exit_layer: exit_layer.as_slice_mut().unwrap_or_default(),
            accumulated_confidence: confidence.as_slice_mut().unwrap_or_default(),
            soft_exit_ratio: ratio.as_slice_mut().unwrap_or_default(),
        })
    }
}

/// One object a token.
pub fn decisions(out: &ExitSlices<'_>) -> Vec<ExitDecision> {
    let decision = |token: usize| ExitDecision {
        should_exit: out.should_exit[token],
        exit_layer: out.exit_layer[token],
        accumulated_confidence: out.accumulated_confidence[token],
        soft_exit_ratio: out.soft_exit_ratio[token],
    };
    (0..out.len()).map(decision).collect()
}
