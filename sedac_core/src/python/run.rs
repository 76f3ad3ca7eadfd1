//! `CascadeRun` for Python.

use numpy::PyArray1;
use pyo3::prelude::*;

use crate::python::arrays::{float_output, vector};
use crate::python::decisions::ExitArrays;
use crate::python::detached;
use crate::run::Run;

/// One batch, fed checkpoint by checkpoint inside a forward pass; made by
/// CascadeController.begin. A run belongs to one thread at a time.
#[pyclass(module = "sedac_core")]
pub struct CascadeRun {
    /// The state of the tokens.
    pub inner: Run,
}

#[pymethods]
impl CascadeRun {
    /// Feeds the risks of one checkpoint and returns the skip ratio of every token.
    ///
    /// checkpoint: 0, 1, ... in order, each once.
    /// risk: float32[batch], finite and >= 0.
    /// out: float32[batch] to write to and return; nothing is allocated then.
    /// uncertainty: of this step, in [0, 1]; only with adaptive_decay.
    ///
    /// Returns float32[batch] in [0, 1]: 0 before a token's exit, and never falling after it.
    /// IndexError for a checkpoint that does not exist, ValueError for any other bad input; then
    /// the run is as before.
    #[pyo3(signature = (checkpoint, risk, out=None, uncertainty=0.0))]
    fn step<'py>(
        &mut self,
        py: Python<'py>,
        checkpoint: i64,
        risk: &Bound<'py, PyAny>,
        out: Option<Bound<'py, PyAny>>,
        uncertainty: f32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let risk = vector("risk", risk)?;
        let batch = self.inner.batch();
        let out = out.unwrap_or_else(|| PyArray1::<f32>::zeros(py, batch, false).into_any());
        let mut ratio = float_output("out", &out, batch)?;
        let slice = ratio.as_slice_mut().unwrap_or_default();
        let values = risk.as_slice();
        let run = &mut self.inner;
        detached(py, batch, || run.step(checkpoint, values, uncertainty, slice))?;
        drop(ratio);
        Ok(out)
    }

    /// Returns the decisions and counts the run; afterwards reset() makes it usable again.
    ///
    /// out: ExitArrays of this batch to write to and return; nothing is allocated then.
    /// ValueError if the run is finished already or out is of another length.
    #[pyo3(signature = (out=None))]
    fn finish(&mut self, py: Python<'_>, out: Option<Py<ExitArrays>>) -> PyResult<Py<ExitArrays>> {
        let batch = self.inner.batch();
        let out = ExitArrays::given_or_new(py, out, batch)?;
        let run = &mut self.inner;
        out.get().write(py, batch, |slices| detached(py, batch, || run.finish(slices)))?;
        Ok(out)
    }

    /// Begins again with the same batch and routes, and with the thresholds as they are now.
    fn reset(&mut self) -> PyResult<()> {
        Ok(self.inner.reset()?)
    }

    /// Number of tokens.
    #[getter]
    fn batch(&self) -> usize {
        self.inner.batch()
    }
}
