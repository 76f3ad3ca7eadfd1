//! Work on large batches, shared among threads.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// From this many tokens on, an evaluation is shared among threads.
///
/// Measured with `cargo bench` (group `threads`) on two cores. On an idle machine two threads break
/// even at 65 536 tokens and save a sixth at 262 144. On a busy one, as a robot's computer is, a
/// shared evaluation waits for the slowest of its threads, and lost up to five times at 65 536.
/// Below, one thread decides in at most a quarter of a millisecond.
pub const PARALLEL_FROM: usize = 262_144;

/// Tokens that one thread takes at a time: their state fits the L1 cache.
pub const BLOCK: usize = 2_048;

/// The pool and the process that started it.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// The threads of this process, or `None` where a single one is all there is.
///
/// The pool belongs to a process: after a fork its threads exist only in the parent, and a child
/// that waited for them would wait for ever. A child therefore starts its own.
#[must_use]
pub fn pool() -> Option<Arc<ThreadPool>> {
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match slot.as_ref() {
        Some((owner, pool)) if *owner == process => return Some(Arc::clone(pool)),
        // Dropping the parent's pool would signal threads that are not there.
        Some((_, parents)) => std::mem::forget(Arc::clone(parents)),
        None => {}
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads < 2 {
        return None;
    }
    let name = |i| format!("sedac-{i}");
    let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().ok()?);
    *slot = Some((process, Arc::clone(&pool)));
    Some(pool)
}
