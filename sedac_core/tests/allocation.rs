//! Streaming takes no memory after `begin`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use sedac_core::routes::{stretches, uniform};
use sedac_core::{Controller, ExitSlices, Options};

thread_local! {
    // Const, so that reading it does not itself allocate; one a thread, for tests run in parallel.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract of
// GlobalAlloc; counting touches no memory that is being allocated.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout, hence from System.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 100]))), 1);
}

#[test]
fn streaming_allocates_nothing() {
    let batch = 1000;
    let controller = Arc::new(Controller::new(Options::default()).unwrap());
    let (risk, mut ratio) = (vec![0.3; batch], vec![0.0; batch]);
    let mut out = (vec![false; batch], vec![0; batch], vec![0.0; batch], vec![0.0; batch]);
    let mixed: Vec<i32> = vec![0; batch];
    for cover in [uniform(batch), stretches(&mixed, 1).unwrap()] {
        let mut run = controller.begin(batch, cover);
        let count = allocations(|| {
            for _ in 0..3 {
                for checkpoint in 0..3 {
                    run.step(checkpoint, &risk, 0.0, &mut ratio).unwrap();
                }
                let mut slices = ExitSlices {
                    should_exit: &mut out.0,
                    exit_layer: &mut out.1,
                    accumulated_confidence: &mut out.2,
                    soft_exit_ratio: &mut out.3,
                };
                run.finish(&mut slices).unwrap();
                run.reset().unwrap();
            }
        });
        assert_eq!(count, 0);
    }
}
