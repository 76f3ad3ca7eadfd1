//! Numpy arrays in and out: every check of type, shape and memory stands here.

use numpy::{
    PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray, PyReadwriteArray1,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::config::Settings;
use crate::controller::{shape, shape_text};
use crate::error::{Error, Result};
use crate::routes::{self, Stretch};

/// Values of an array: in its own memory where that is contiguous, else a copy.
pub enum Values<'py, T: numpy::Element, D: numpy::ndarray::Dimension> {
    /// The array's memory, locked against other users of this crate.
    Borrowed(PyReadonlyArray<'py, T, D>),
    /// A contiguous copy.
    Copied(Vec<T>),
}

impl<T: numpy::Element + Copy, D: numpy::ndarray::Dimension> Values<'_, T, D> {
    /// The values, row by row.
    pub fn as_slice(&self) -> &[T] {
        match self {
            // Only contiguous arrays are borrowed, and those are always a slice.
            Self::Borrowed(array) => array.as_slice().unwrap_or_default(),
            Self::Copied(values) => values,
        }
    }
}

/// The values of a one-dimensional array of float32.
pub fn vector<'py>(
    what: &'static str,
    object: &Bound<'py, PyAny>,
) -> Result<Values<'py, f32, numpy::ndarray::Ix1>> {
    let array =
        object.cast::<PyArray1<f32>>().map_err(|_| mismatch::<f32>(what, object, "(n,)", "float32"))?;
    let borrowed = array.try_readonly().map_err(|_| overlap(what))?;
    if borrowed.is_c_contiguous() {
        return Ok(Values::Borrowed(borrowed));
    }
    Ok(Values::Copied(borrowed.as_array().iter().copied().collect()))
}

/// The values and the shape of a two-dimensional array.
pub fn matrix<'py, T: numpy::Element + Copy>(
    what: &'static str,
    object: &Bound<'py, PyAny>,
    dtype: &'static str,
) -> Result<(Values<'py, T, numpy::ndarray::Ix2>, usize, usize)> {
    let expected = "(num_layers, batch)";
    let array = object.cast::<PyArray2<T>>().map_err(|_| mismatch::<T>(what, object, expected, dtype))?;
    let borrowed = array.try_readonly().map_err(|_| overlap(what))?;
    let (rows, columns) = (array.shape()[0], array.shape()[1]);
    if borrowed.is_c_contiguous() {
        return Ok((Values::Borrowed(borrowed), rows, columns));
    }
    Ok((Values::Copied(borrowed.as_array().iter().copied().collect()), rows, columns))
}

/// A matrix with one row a checkpoint, as one list a row.
pub fn rows<T: numpy::Element + Copy>(
    what: &'static str,
    object: &Bound<'_, PyAny>,
    dtype: &'static str,
    checkpoints: usize,
) -> Result<Vec<Vec<T>>> {
    let (values, count, columns) = matrix::<T>(what, object, dtype)?;
    check_rows(what, count, columns, checkpoints)?;
    Ok((0..count).map(|i| values.as_slice()[i * columns..][..columns].to_vec()).collect())
}

/// Refuses a matrix whose number of rows is not that of the checkpoints.
pub fn check_rows(what: &'static str, rows: usize, columns: usize, checkpoints: usize) -> Result<()> {
    if rows == checkpoints {
        return Ok(());
    }
    let (expected, got) = (format!("({checkpoints}, batch)"), shape_text(&[rows, columns]));
    Err(Error::Shape { what, expected, got })
}

/// An array to write to, which must be contiguous, of the right length, and not in use.
pub fn output<'py, T: numpy::Element>(
    what: &'static str,
    array: &Bound<'py, PyArray1<T>>,
    batch: usize,
) -> Result<PyReadwriteArray1<'py, T>> {
    if array.len() != batch {
        return Err(Error::Shape {
            what,
            expected: format!("({batch},)"),
            got: format!("({},)", array.len()),
        });
    }
    if !array.is_c_contiguous() {
        return Err(Error::Memory { what, reason: "is not contiguous" });
    }
    array.try_readwrite().map_err(|error| match error {
        numpy::BorrowError::NotWriteable => Error::Memory { what, reason: "is read-only" },
        _ => overlap(what),
    })
}

/// A float32 array of the caller's to write to.
pub fn float_output<'py>(
    what: &'static str,
    object: &Bound<'py, PyAny>,
    batch: usize,
) -> Result<PyReadwriteArray1<'py, f32>> {
    let array = object.cast::<PyArray1<f32>>();
    output(what, array.map_err(|_| mismatch::<f32>(what, object, &format!("({batch},)"), "float32"))?, batch)
}

/// The stretches of a batch: `routes` is None, names, or indices into the route names.
pub fn stretches(
    settings: &Settings,
    batch: usize,
    routes: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Stretch>> {
    let Some(routes) = routes else { return Ok(routes::uniform(batch)) };
    let indices: Vec<i32> = match routes.extract::<Vec<String>>() {
        Ok(names) => {
            let index = |name: &String| settings.route_index(name).map(|index| index as i32);
            names.iter().map(index).collect::<Result<_>>()?
        }
        Err(_) => routes.extract()?,
    };
    if indices.len() != batch {
        return Err(shape("routes", &[batch], indices.len()).into());
    }
    Ok(routes::stretches(&indices, settings.routes.len())?)
}

fn overlap(what: &'static str) -> Error {
    Error::Memory { what, reason: "shares memory with another argument or is in use by another thread" }
}

/// Says whether the type or the shape of what should have been an array is wrong.
pub fn mismatch<T: numpy::Element>(
    what: &'static str,
    object: &Bound<'_, PyAny>,
    expected: &str,
    dtype: &'static str,
) -> Error {
    let Ok(array) = object.cast::<PyUntypedArray>() else {
        let kind = object.get_type().name().map_or_else(|_| "no array".into(), |name| name.to_string());
        return Error::Dtype { what, expected: dtype, got: format!("of type {kind}") };
    };
    if !array.dtype().is_equiv_to(&numpy::dtype::<T>(object.py())) {
        return Error::Dtype { what, expected: dtype, got: format!("of dtype {}", array.dtype()) };
    }
    Error::Shape { what, expected: expected.into(), got: shape_text(array.shape()) }
}
