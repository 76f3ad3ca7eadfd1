//! Many threads on one controller.

use std::sync::Barrier;
use std::thread;

use sedac_core::routes::uniform;
use sedac_core::{Controller, ExitSlices, LayerConfig, Options, Settings};

const THREADS: usize = 16;

#[test]
fn no_concurrent_update_is_lost() {
    let options =
        Options { alpha: 0.0005, calibration_steps: 4, calibration_window: 64, ..Options::default() };
    let controller = Controller::new(options).unwrap();
    controller.update_thresholds(0, &[1.0; 12]).unwrap();
    let (updates, barrier) = (200, Barrier::new(THREADS));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..updates {
                    controller.update_threshold(0, 1, &[2.0; 3]).unwrap();
                }
            });
        }
    });
    // Each update takes a 2000th of the way from 1 to 2, in whatever order they come.
    let expected = 2.0 - 0.9995_f64.powi((THREADS * updates) as i32);
    let thresholds = &controller.snapshot().states[0].thresholds;
    assert!((thresholds[1] - expected).abs() < 1e-9, "{} instead of {expected}", thresholds[1]);
}

#[test]
fn an_evaluation_sees_all_of_an_update_or_none() {
    let settings = [0.5, 2.0].map(|scale| {
        let layer = |i| LayerConfig::new(i, 0.3, scale, Some(scale), None).unwrap();
        let layers = Some((0..3).map(layer).collect());
        Settings::resolve(Options { layer_configs: layers, ..Options::default() }).unwrap()
    });
    let controller = Controller::new(Options::default()).unwrap();
    let switch = |n: usize| {
        let chosen = settings[n % 2].clone();
        let states = sedac_core::snapshot::Snapshot::initial(chosen.clone()).states;
        controller.replace(chosen, states);
    };
    let evaluate = || {
        let mut confidence = [0.0];
        let mut out = ExitSlices {
            should_exit: &mut [false],
            exit_layer: &mut [0],
            accumulated_confidence: &mut confidence,
            soft_exit_ratio: &mut [0.0],
        };
        controller.evaluate(&[0.2, 0.3, 0.4], &uniform(1), &[], &mut out).unwrap();
        confidence[0]
    };
    let outcomes = [0, 1].map(|n| {
        switch(n);
        evaluate()
    });
    assert_ne!(outcomes[0], outcomes[1]);
    thread::scope(|scope| {
        scope.spawn(|| (0..2000).for_each(switch));
        for _ in 0..3 {
            scope.spawn(|| (0..5000).for_each(|_| assert!(outcomes.contains(&evaluate()))));
        }
    });
}
