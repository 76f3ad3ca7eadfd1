//! Where the time of an evaluation goes: `cargo bench`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sedac_core::kernel::{Checkpoint, Tokens, conclude, count_exits, count_invalid, step};
use sedac_core::routes::uniform;
use sedac_core::{Controller, ExitSlices, Options};

const SIZES: [usize; 5] = [1, 64, 1024, 8192, 65536];

/// Risks from 0 to 1.2, in an order that no branch predictor learns.
fn risks(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 1.2
    };
    (0..count).map(next).collect()
}

struct Output(Vec<bool>, Vec<i32>, Vec<f32>, Vec<f32>);

impl Output {
    fn new(batch: usize) -> Self {
        Self(vec![false; batch], vec![-1; batch], vec![0.0; batch], vec![0.0; batch])
    }

    fn slices(&mut self) -> ExitSlices<'_> {
        ExitSlices {
            should_exit: &mut self.0,
            exit_layer: &mut self.1,
            accumulated_confidence: &mut self.2,
            soft_exit_ratio: &mut self.3,
        }
    }
}

fn controller() -> Arc<Controller> {
    Arc::new(Controller::new(Options::default()).expect("the defaults are valid"))
}

/// A whole evaluation; from `PARALLEL_FROM` tokens on it is shared among threads.
fn evaluate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    let controller = controller();
    for batch in SIZES.into_iter() {
        let (risk, stretches, mut out) = (risks(3 * batch), uniform(batch), Output::new(batch));
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter(|| controller.evaluate(black_box(&risk), &stretches, &[], &mut out.slices()));
        });
    }
}

/// One streaming step, without the interpreter.
fn streaming(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("streaming");
    let controller = controller();
    for batch in SIZES {
        let risk = risks(batch);
        let mut ratio = vec![0.0; batch];
        let mut run = controller.begin(batch, uniform(batch));
        group.throughput(Throughput::Elements(3 * batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter(|| {
                for checkpoint in 0..3 {
                    run.step(checkpoint, black_box(&risk), 0.0, &mut ratio).expect("valid risks");
                }
                run.reset().expect("the routes are still there");
            });
        });
    }
}

/// The loops over one block of tokens, each by itself.
fn loops(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loops");
    let batch = 2048;
    let risk = risks(batch);
    let mut out = Output::new(batch);
    let checkpoint = Checkpoint::new(7, 0.8, 0.3, 0.2);
    group.throughput(Throughput::Elements(batch as u64));
    group.bench_function("step", |bencher| {
        bencher.iter(|| {
            let mut tokens = Tokens { confidence: &mut out.2, best: &mut out.3, exit: &mut out.1 };
            step(&checkpoint, 0.9, black_box(&risk), &mut tokens);
        });
    });
    group.bench_function("conclude", |bencher| bencher.iter(|| conclude(true, &mut out.slices())));
    let mut count = 0;
    group.bench_function("count_invalid", |bencher| {
        bencher.iter(|| count_invalid(black_box(&risk), &mut count));
    });
    group.bench_function("count_exits", |bencher| {
        bencher.iter(|| count_exits(black_box(&out.1), 7, &mut count));
    });
}

/// One thread against all of them: where `PARALLEL_FROM` comes from.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    let (controller, pool) = (controller(), sedac_core::parallel::pool());
    for batch in [16_384, 32_768, 65_536, 131_072, 262_144] {
        let (risk, stretches, mut out) = (risks(3 * batch), uniform(batch), Output::new(batch));
        for (name, pool) in [("one", None), ("all", pool.as_deref())] {
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                bencher.iter(|| controller.evaluate_on(pool, &risk, &stretches, &[], &mut out.slices()));
            });
        }
    }
}

criterion_group!(benches, threads, evaluate, streaming, loops);
criterion_main!(benches);
