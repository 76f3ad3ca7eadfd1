//! Properties of the exit rule on random input.

use std::sync::Arc;

use proptest::prelude::*;
use sedac_core::config::default_layers;
use sedac_core::math::soft_exit_ratio;
use sedac_core::parallel::{BLOCK, pool};
use sedac_core::routes::{stretches, uniform};
use sedac_core::{Controller, ExitSlices, Options};

#[derive(Clone, Debug, Default, PartialEq)]
struct Output {
    should_exit: Vec<bool>,
    exit_layer: Vec<i32>,
    confidence: Vec<f32>,
    ratio: Vec<f32>,
}

impl Output {
    fn new(batch: usize) -> Self {
        Self {
            should_exit: vec![false; batch],
            exit_layer: vec![0; batch],
            confidence: vec![0.0; batch],
            ratio: vec![0.0; batch],
        }
    }

    fn slices(&mut self) -> ExitSlices<'_> {
        ExitSlices {
            should_exit: &mut self.should_exit,
            exit_layer: &mut self.exit_layer,
            accumulated_confidence: &mut self.confidence,
            soft_exit_ratio: &mut self.ratio,
        }
    }
}

fn evaluate(controller: &Controller, risk: &[f32], batch: usize) -> Output {
    let mut out = Output::new(batch);
    controller.evaluate(risk, &uniform(batch), &[], &mut out.slices()).expect("valid risks");
    out
}

/// A risk matrix of three checkpoints.
fn risks(batch: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(prop_oneof![8 => 0.0_f32..2.0, 1 => Just(0.0), 1 => Just(f32::MAX)], 3 * batch)
}

fn batches() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (0_usize..70).prop_flat_map(|batch| (Just(batch), risks(batch)))
}

/// The definitions as a plain loop, with the default settings.
fn plain_loop(risk: &[f32], batch: usize) -> Output {
    let layers = [(7, 0.8_f32, 0.3_f32, 0.2_f32), (14, 1.0, 0.4, 0.5), (21, 1.2, 0.3, 0.8)];
    let mut out = Output::default();
    for token in 0..batch {
        let (mut c, mut best, mut exit) = (0.0_f32, 0.0_f32, -1);
        for (i, (layer, threshold, weight, target)) in layers.into_iter().enumerate() {
            let confidence = ((threshold - risk[i * batch + token]) / threshold).clamp(0.0, 1.0);
            c = 0.9 * c + weight * confidence;
            if exit < 0 && c >= target {
                exit = layer;
            }
            if exit >= 0 {
                best = best.max(c);
            }
        }
        out.should_exit.push(exit >= 0);
        out.exit_layer.push(exit);
        out.confidence.push(if exit >= 0 { best } else { c });
        out.ratio.push(if exit >= 0 { soft_exit_ratio(best) } else { 0.0 });
    }
    out
}

proptest! {
    #[test]
    fn evaluation_is_the_plain_loop((batch, risk) in batches()) {
        let controller = Controller::new(Options::default()).unwrap();
        prop_assert_eq!(evaluate(&controller, &risk, batch), plain_loop(&risk, batch));
    }

    #[test]
    fn streaming_is_the_whole_matrix_and_ratios_never_fall((batch, risk) in batches()) {
        let controller = Arc::new(Controller::new(Options::default()).unwrap());
        let mut run = controller.begin(batch, uniform(batch));
        let (mut ratio, mut before) = (vec![0.0; batch], vec![0.0; batch]);
        for i in 0..3 {
            run.step(i as i64, &risk[i * batch..][..batch], 0.0, &mut ratio).unwrap();
            prop_assert!(ratio.iter().zip(&before).all(|(now, then)| now >= then && *now <= 1.0));
            before.copy_from_slice(&ratio);
        }
        let mut out = Output::new(batch);
        run.finish(&mut out.slices()).unwrap();
        prop_assert_eq!(&out, &evaluate(&controller, &risk, batch));
        prop_assert_eq!(out.ratio, ratio);
    }

    #[test]
    fn mixed_routes_decide_each_token_as_its_route_alone(
        (batch, risk) in batches(),
        pattern in prop::collection::vec(0_i32..2, 70),
    ) {
        let mut layers = default_layers();
        layers.iter_mut().for_each(|layer| layer.target_exit_rate *= 0.5);
        let options = Options { routes: vec![("other".into(), layers)], ..Options::default() };
        let controller = Controller::new(options).unwrap();
        let routed = |routes: &[i32]| {
            let mut out = Output::new(batch);
            controller.evaluate(&risk, &stretches(routes, 2).unwrap(), &[], &mut out.slices()).unwrap();
            out
        };
        let mixed = routed(&pattern[..batch]);
        let alone = [routed(&vec![0; batch]), routed(&vec![1; batch])];
        for token in 0..batch {
            let expected = &alone[pattern[token] as usize];
            prop_assert_eq!(mixed.exit_layer[token], expected.exit_layer[token]);
            prop_assert_eq!(mixed.ratio[token], expected.ratio[token]);
        }
    }
}

#[test]
fn threads_decide_as_one_thread_to_the_bit() {
    let batch = 5 * BLOCK + 77;
    let risk: Vec<f32> = (0..3 * batch).map(|i| ((i * 7919) % 1301) as f32 / 1000.0).collect();
    let controller = Controller::new(Options::default()).unwrap();
    let (pool, mut alone, mut shared) = (pool(), Output::new(batch), Output::new(batch));
    controller.evaluate_on(None, &risk, &uniform(batch), &[], &mut alone.slices()).unwrap();
    controller.evaluate_on(pool.as_deref(), &risk, &uniform(batch), &[], &mut shared.slices()).unwrap();
    assert_eq!(alone, shared);
    assert_eq!(alone, plain_loop(&risk, batch));
}
