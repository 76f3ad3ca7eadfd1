//! The functions of one array: soft ratio, entropy, softmax, quantile.

use crate::error::{Error, Result};

/// Share of the MLP work that may be skipped at accumulated confidence `c`:
/// `f(c) = tanh(2c - 1) / 2 + 1/2`, to 5e-7.
#[must_use]
pub fn soft_exit_ratio(c: f32) -> f32 {
    if c < 0.0 { 1.0 - ratio_of_confidence(1.0 - c) } else { ratio_of_confidence(c) }
}

/// [`soft_exit_ratio`] for `c >= 0`, all that accumulated confidence can be.
///
/// It must be monotone in every f32, because a ratio may never fall, and it must vectorise, which
/// calls of libm do not. With `e(c) = exp(4c - 2)` the ratio is `1 - 1 / (1 + e)`, and `exp(4c)` is
/// `series(c / 2)^8`. Each operation below is a sum or product of terms that are positive and rise
/// with `c`, or a single operation on such a term. A correctly rounded operation keeps order, so no
/// rounding anywhere can make the ratio fall.
///
/// Accuracy: eight times the relative error of the series (its end, `v^8 / 8!`, and its rounding)
/// times `f (1 - f)`, which is at most 1/4 and dies off faster than the series' end grows.
#[inline(always)]
#[must_use]
pub fn ratio_of_confidence(c: f32) -> f32 {
    /// `exp(-2)`.
    const SHIFT: f32 = 0.135_335_28;
    // Beyond 5 the ratio is 1 to the last bit; the bound keeps the power finite.
    let bounded = if c < 5.0 { c } else { 5.0 };
    let series = exp_series(0.5 * bounded);
    let square = series * series;
    let fourth = square * square;
    1.0 - 1.0 / (1.0 + SHIFT * (fourth * fourth))
}

/// `exp(v)` for `v >= 0`: Taylor's series to degree 7 in Horner's form, all terms positive.
#[inline(always)]
fn exp_series(v: f32) -> f32 {
    let high = 1.0 / 24.0 + v * (1.0 / 120.0 + v * (1.0 / 720.0 + v * (1.0 / 5040.0)));
    1.0 + v * (1.0 + v * (0.5 + v * (1.0 / 6.0 + v * high)))
}

/// Shannon entropy `-sum p ln p` of one distribution, in nats; 0 for `p = 0`.
///
/// # Errors
/// [`Error::Value`] for a probability outside [0, 1], or a sum further than 1e-3 from 1.
pub fn entropy(probabilities: &[f32]) -> Result<f32> {
    let outside = |p: &f32| !(0.0..=1.0).contains(p);
    if let Some(index) = probabilities.iter().position(outside) {
        let value = f64::from(probabilities[index]);
        return Err(Error::Value { what: "probs", value, index, expected: "from 0 to 1" });
    }
    let sum: f64 = probabilities.iter().map(|p| f64::from(*p)).sum();
    if (sum - 1.0).abs() > 1e-3 {
        let expected = "probabilities that sum to 1 (the value is their sum)";
        return Err(Error::Value { what: "probs", value: sum, index: 0, expected });
    }
    let terms = probabilities.iter().filter(|p| **p > 0.0).map(|p| f64::from(*p));
    // Adding 0 turns the -0 of a certain outcome into 0.
    Ok((terms.map(|p| -p * p.ln()).sum::<f64>() + 0.0) as f32)
}

/// Softmax of one row, shifted by its maximum so that it cannot overflow.
///
/// `-inf` marks a masked entry and gets 0. `logits` and `out` have the same length.
///
/// # Errors
/// [`Error::Value`] for NaN, `+inf`, or a row in which every entry is masked or none is there.
pub fn softmax(logits: &[f32], out: &mut [f32]) -> Result<()> {
    let refused = |x: &f32| x.is_nan() || *x == f32::INFINITY;
    if let Some(index) = logits.iter().position(refused) {
        let value = f64::from(logits[index]);
        return Err(Error::Value { what: "logits", value, index, expected: "finite or -inf" });
    }
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if top == f32::NEG_INFINITY {
        let expected = "a row with at least one finite entry";
        return Err(Error::Value { what: "logits", value: f64::from(top), index: 0, expected });
    }
    let weight = |x: f32| (f64::from(x) - f64::from(top)).exp();
    let sum: f64 = logits.iter().map(|x| weight(*x)).sum();
    for (slot, logit) in out.iter_mut().zip(logits) {
        *slot = (weight(*logit) / sum) as f32;
    }
    Ok(())
}

/// The `q`-quantile of `data` by linear interpolation, as numpy's default; reorders `data`.
///
/// # Errors
/// [`Error::Parameter`] for `q` outside [0, 1] or empty data, [`Error::Value`] for NaN.
pub fn quantile(data: &mut [f64], q: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&q) {
        return Err(Error::Parameter { name: "q", value: q.to_string(), expected: "from 0 to 1" });
    }
    if data.is_empty() {
        return Err(Error::Parameter { name: "data", value: "empty".into(), expected: "at least one value" });
    }
    if let Some(index) = data.iter().position(|x| x.is_nan()) {
        return Err(Error::Value { what: "data", value: f64::NAN, index, expected: "a number" });
    }
    let position = (data.len() - 1) as f64 * q;
    let (_, low, rest) = data.select_nth_unstable_by(position as usize, f64::total_cmp);
    let high = rest.iter().copied().fold(f64::INFINITY, f64::min);
    let low = *low;
    let weight = position - position.floor();
    if weight == 0.0 || rest.is_empty() {
        return Ok(low);
    }
    // Numpy's two forms: each is exact at its own end.
    let gap = high - low;
    Ok(if weight < 0.5 { low + gap * weight } else { high - gap * (1.0 - weight) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_ratio_is_the_formula_at_the_values_of_the_specification() {
        for (c, expected) in [(0.5, 0.5), (0.8, 0.7685), (1.0, 0.8808)] {
            assert!((soft_exit_ratio(c) - expected).abs() < 5e-5, "f({c}) = {}", soft_exit_ratio(c));
        }
    }

    #[test]
    fn soft_ratio_agrees_with_tanh_over_its_whole_range() {
        for step in 0..=100_000 {
            let c = step as f32 * 1e-4 - 3.0;
            let exact = 0.5 * (2.0 * f64::from(c) - 1.0).tanh() + 0.5;
            assert!((f64::from(soft_exit_ratio(c)) - exact).abs() < 5e-7, "c = {c}");
        }
    }

    #[test]
    fn soft_ratio_never_falls_from_one_f32_to_the_next() {
        for start in [0.0, 1e-9, 1e-4, 0.124, 0.25, 0.4999, 0.7, 0.999, 1.5, 2.9, 4.2, 10.49] {
            let mut c: f32 = start;
            let mut before = soft_exit_ratio(c);
            for _ in 0..20_000 {
                c = c.next_up();
                let after = soft_exit_ratio(c);
                assert!(after >= before, "f falls at {c}");
                before = after;
            }
        }
    }

    /// Every f32 from 0 to 6; run with `cargo test --release -- --ignored`.
    #[test]
    #[ignore = "a billion evaluations: seconds in release, minutes in debug"]
    fn soft_ratio_never_falls_anywhere() {
        let mut before = 0.0;
        for bits in 0..=6.0_f32.to_bits() {
            let after = soft_exit_ratio(f32::from_bits(bits));
            assert!(after >= before, "f falls at {}", f32::from_bits(bits));
            before = after;
        }
    }

    #[test]
    fn quantile_interpolates_between_neighbours() {
        assert_eq!(quantile(&mut [4.0, 1.0, 3.0, 2.0], 0.5).unwrap(), 2.5);
        assert_eq!(quantile(&mut [7.0], 0.3).unwrap(), 7.0);
        assert!(quantile(&mut [], 0.5).is_err());
        assert!(quantile(&mut [1.0], f64::NAN).is_err());
        assert!(quantile(&mut [1.0, f64::NAN], 0.5).is_err());
    }

    #[test]
    fn softmax_and_entropy_of_a_uniform_row() {
        let mut row = [0.0; 4];
        softmax(&[1000.0; 4], &mut row).unwrap();
        assert_eq!(row, [0.25; 4]);
        assert!((entropy(&row).unwrap() - 4.0_f32.ln()).abs() < 1e-6);
        assert_eq!(entropy(&[0.0, 1.0]).unwrap().to_bits(), 0);
        assert!(softmax(&[f32::NEG_INFINITY; 2], &mut row[..2]).is_err());
        assert!(entropy(&[0.5, 0.6]).is_err());
    }
}
