//! Learning the weights, and if asked the decay, from recorded risks and whether exits were right.
//!
//! The accumulated confidence should say how likely an exit at a checkpoint is right. So the
//! weights are those of a logistic regression over all tokens and checkpoints,
//! `P(right at i) = sigmoid(b_i + sum_k u_k gamma^(i-k) conf_k)`, `u_k >= 0`, with one intercept a
//! checkpoint. It is convex; Newton's method with the bounded coordinates held (Bertsekas' projected
//! Newton) solves it. `u` is then scaled so that the weights keep their sum: the scale belongs to
//! the confidence targets, which are solved on the same samples.

use crate::calibration::solve_targets;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::kernel::{Checkpoint, confidence};

/// Share of the total below which no weight falls, so that every checkpoint can still exit.
const LEAST_SHARE: f64 = 0.01;

/// Keeps the solution finite where the samples can be told apart without error.
const RIDGE: f64 = 1e-6;

/// What the fit found.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Weight of each checkpoint.
    pub weights: Vec<f64>,
    /// The decay: the given one, or the best of 0, 0.05, ..., 1.
    pub confidence_decay: f64,
    /// Confidence targets at which the samples exit at the target exit rates.
    pub confidence_targets: Vec<f64>,
    /// Mean logistic loss with these weights, in nats.
    pub log_loss: f64,
    /// Mean logistic loss with the given weights and decay, in nats; scale and intercepts fitted.
    pub log_loss_before: f64,
}

/// Fits the weights of the default route of `settings`.
///
/// `risk` and `right` hold one list a checkpoint, all of one length: the risk of each token there,
/// and whether exiting there would have been right.
///
/// # Errors
/// [`Error::Parameter`] if there is no sample, or if confidence says nothing about right exits.
pub fn fit_weights(
    risk: &[Vec<f32>],
    right: &[Vec<bool>],
    settings: &Settings,
    fit_decay: bool,
) -> Result<Fit> {
    let route = &settings.routes[0];
    if risk[0].is_empty() {
        return Err(refusal("risk", "empty", "at least one token"));
    }
    let conf = confidences(risk, settings);
    let given: Vec<f64> = (0..route.layers.len()).map(|i| route.weight(i)).collect();
    let before = Problem::of_sum(&conf, right, &given, settings.confidence_decay).solve();
    let decays = if fit_decay {
        (0..=20).map(|i| f64::from(i) / 20.0).collect()
    } else {
        vec![settings.confidence_decay]
    };
    let fits = decays.into_iter().map(|decay| (decay, Problem::of_layers(&conf, right, decay).solve()));
    let best = fits.min_by(|(_, a), (_, b)| a.loss.total_cmp(&b.loss));
    let (decay, solution) = best.ok_or_else(|| refusal("decays", "empty", "at least one"))?;
    let weights = scaled(&solution.weights, given.iter().sum())?;
    let mut learned = route.clone();
    for (layer, weight) in learned.layers.iter_mut().zip(&weights) {
        layer.confidence_weight = Some(*weight);
        layer.confidence_target = None;
    }
    let thresholds: Vec<f64> = route.layers.iter().map(|layer| layer.initial_threshold).collect();
    let rates: Vec<f64> = route.layers.iter().map(|layer| layer.target_exit_rate).collect();
    let confidence_targets = solve_targets(risk, &learned, &thresholds, &rates, decay as f32);
    Ok(Fit {
        weights,
        confidence_decay: decay,
        confidence_targets,
        log_loss: solution.loss,
        log_loss_before: before.loss,
    })
}

fn confidences(risk: &[Vec<f32>], settings: &Settings) -> Vec<Vec<f64>> {
    let layers = risk.iter().zip(&settings.routes[0].layers);
    let of_layer = |(risk, layer): (&Vec<f32>, &crate::config::LayerConfig)| {
        let checkpoint = Checkpoint::new(layer.layer_idx, layer.initial_threshold, 1.0, 1.0);
        risk.iter().map(|r| f64::from(confidence(&checkpoint, *r))).collect()
    };
    layers.map(of_layer).collect()
}

fn scaled(raw: &[f64], sum: f64) -> Result<Vec<f64>> {
    let total: f64 = raw.iter().sum();
    if total <= 1e-9 {
        return Err(refusal(
            "exit_right",
            "unrelated to the risk",
            "right more often where the risk is lower",
        ));
    }
    let floored: Vec<f64> = raw.iter().map(|w| (w / total).max(LEAST_SHARE)).collect();
    let share: f64 = floored.iter().sum();
    Ok(floored.iter().map(|w| w / share * sum).collect())
}

fn refusal(name: &'static str, value: &str, expected: &'static str) -> Error {
    Error::Parameter { name, value: value.into(), expected }
}

/// A logistic regression: `weights` coefficients >= 0 for the features, then one free intercept a
/// checkpoint. Row `i * tokens + t` is token `t` at checkpoint `i`.
struct Problem {
    features: Vec<Vec<f64>>,
    right: Vec<bool>,
    layers: usize,
    tokens: usize,
}

struct Solution {
    weights: Vec<f64>,
    loss: f64,
}

impl Problem {
    /// One feature a checkpoint: its confidence, decayed to the row's checkpoint.
    fn of_layers(conf: &[Vec<f64>], right: &[Vec<bool>], decay: f64) -> Self {
        let (layers, tokens) = (conf.len(), conf[0].len());
        let value =
            |k: usize, i: usize, t: usize| if k <= i { decay.powi((i - k) as i32) * conf[k][t] } else { 0.0 };
        let row = |k: usize| (0..layers * tokens).map(|n| value(k, n / tokens, n % tokens)).collect();
        Self { features: (0..layers).map(row).collect(), right: right.concat(), layers, tokens }
    }

    /// A single feature: the confidence accumulated with these weights.
    fn of_sum(conf: &[Vec<f64>], right: &[Vec<bool>], weights: &[f64], decay: f64) -> Self {
        let parts = Self::of_layers(conf, right, decay);
        let sum = |n: usize| parts.features.iter().zip(weights).map(|(feature, w)| w * feature[n]).sum();
        let features = vec![(0..parts.right.len()).map(sum).collect()];
        Self { features, ..parts }
    }

    fn solve(&self) -> Solution {
        let weights = self.features.len();
        let mut x = vec![0.0; weights + self.layers];
        let mut loss = self.loss(&x);
        for _ in 0..50 {
            let (gradient, hessian) = self.derivatives(&x);
            let held: Vec<bool> =
                (0..x.len()).map(|j| j < weights && x[j] <= 0.0 && gradient[j] > 0.0).collect();
            let direction = newton_direction(hessian, &gradient, &held);
            let (next, next_loss) = self.line_search(&x, loss, &direction);
            let gained = loss - next_loss;
            (x, loss) = (next, next_loss);
            if gained < 1e-13 {
                break;
            }
        }
        x.truncate(weights);
        Solution { weights: x, loss }
    }

    /// Halves the step until the loss falls.
    fn line_search(&self, x: &[f64], loss: f64, direction: &[f64]) -> (Vec<f64>, f64) {
        let mut step = 1.0;
        for _ in 0..30 {
            let moved = x.iter().zip(direction).enumerate();
            let next: Vec<f64> = moved
                .map(
                    |(j, (x, d))| {
                        if j < self.features.len() { (x - step * d).max(0.0) } else { x - step * d }
                    },
                )
                .collect();
            let next_loss = self.loss(&next);
            if next_loss <= loss {
                return (next, next_loss);
            }
            step *= 0.5;
        }
        (x.to_vec(), loss)
    }

    fn margin(&self, x: &[f64], n: usize) -> f64 {
        let intercept = x[self.features.len() + n / self.tokens];
        intercept + self.features.iter().zip(x).map(|(feature, w)| feature[n] * w).sum::<f64>()
    }

    fn loss(&self, x: &[f64]) -> f64 {
        let of_row = |n: usize| {
            let margin = self.margin(x, n);
            let wrong_by = if self.right[n] { -margin } else { margin };
            wrong_by.max(0.0) + (-wrong_by.abs()).exp().ln_1p()
        };
        let sum: f64 = (0..self.right.len()).map(of_row).sum();
        sum / self.right.len() as f64 + 0.5 * RIDGE * x.iter().map(|x| x * x).sum::<f64>()
    }

    /// Gradient and Hessian of the loss.
    #[expect(clippy::needless_range_loop, reason = "indices read like the formulas of matrices")]
    fn derivatives(&self, x: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (size, weights) = (x.len(), self.features.len());
        let mut gradient: Vec<f64> = x.iter().map(|x| RIDGE * x).collect();
        let mut hessian = vec![vec![0.0; size]; size];
        let scale = 1.0 / self.right.len() as f64;
        let mut row = vec![0.0; size];
        for n in 0..self.right.len() {
            row[weights..].fill(0.0);
            row[weights + n / self.tokens] = 1.0;
            for (slot, feature) in row.iter_mut().zip(&self.features) {
                *slot = feature[n];
            }
            let p = 1.0 / (1.0 + (-self.margin(x, n)).exp());
            let error = (p - f64::from(u8::from(self.right[n]))) * scale;
            let curvature = p * (1.0 - p) * scale;
            for j in 0..size {
                gradient[j] += error * row[j];
                for k in 0..=j {
                    hessian[j][k] += curvature * row[j] * row[k];
                }
            }
        }
        for j in 0..size {
            hessian[j][j] += RIDGE;
            for k in 0..j {
                hessian[k][j] = hessian[j][k];
            }
        }
        (gradient, hessian)
    }
}

/// Solves `hessian * direction = gradient` for the coordinates that are not held, by Gaussian
/// elimination; no pivoting is needed, for the matrix is positive definite.
#[expect(clippy::needless_range_loop, reason = "indices read like the formulas of matrices")]
fn newton_direction(mut hessian: Vec<Vec<f64>>, gradient: &[f64], held: &[bool]) -> Vec<f64> {
    let size = gradient.len();
    let mut right: Vec<f64> = gradient.to_vec();
    for j in (0..size).filter(|j| held[*j]) {
        for k in 0..size {
            hessian[j][k] = 0.0;
            hessian[k][j] = 0.0;
        }
        hessian[j][j] = 1.0;
        right[j] = 0.0;
    }
    for pivot in 0..size {
        for row in pivot + 1..size {
            let factor = hessian[row][pivot] / hessian[pivot][pivot];
            for k in pivot..size {
                hessian[row][k] -= factor * hessian[pivot][k];
            }
            right[row] -= factor * right[pivot];
        }
    }
    for j in (0..size).rev() {
        let known: f64 = (j + 1..size).map(|k| hessian[j][k] * right[k]).sum();
        right[j] = (right[j] - known) / hessian[j][j];
    }
    right
}
