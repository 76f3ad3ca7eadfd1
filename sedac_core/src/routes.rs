//! Which tokens take which route: stretches of neighbouring tokens of one route.
//!
//! Tokens of one kind (image, language, state, action) lie together in a model's sequence, so a
//! batch has few stretches and each is one vectorised loop. Interleaved routes are as right, only
//! slower.

use crate::error::{Error, Result};

/// Tokens `start..end` take `route`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// First token.
    pub start: usize,
    /// Behind the last token.
    pub end: usize,
    /// Index of the route.
    pub route: usize,
}

/// The stretches of a batch in which every token takes the default route.
#[must_use]
pub fn uniform(batch: usize) -> Vec<Stretch> {
    vec![Stretch { start: 0, end: batch, route: 0 }]
}

/// The stretches of a batch with one route index a token.
///
/// # Errors
/// [`Error::RouteIndex`] for an index outside `0..count`.
pub fn stretches(routes: &[i32], count: usize) -> Result<Vec<Stretch>> {
    let mut found: Vec<Stretch> = Vec::new();
    for (token, index) in routes.iter().enumerate() {
        let route = usize::try_from(*index).ok().filter(|route| *route < count);
        let route = route.ok_or(Error::RouteIndex { index: *index, token, count })?;
        match found.last_mut() {
            Some(last) if last.route == route => last.end = token + 1,
            _ => found.push(Stretch { start: token, end: token + 1, route }),
        }
    }
    Ok(found)
}

/// The parts of `all` that lie in tokens `start..end`, cut to it.
pub fn within(all: &[Stretch], start: usize, end: usize) -> impl Iterator<Item = Stretch> + '_ {
    let first = all.partition_point(|stretch| stretch.end <= start);
    all[first..].iter().take_while(move |stretch| stretch.start < end).map(move |stretch| Stretch {
        start: stretch.start.max(start),
        end: stretch.end.min(end),
        route: stretch.route,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_route_make_one_stretch() {
        let found = stretches(&[1, 1, 0, 2, 2], 3).unwrap();
        assert_eq!(
            found.iter().map(|s| (s.start, s.end, s.route)).collect::<Vec<_>>(),
            [(0, 2, 1), (2, 3, 0), (3, 5, 2)]
        );
        let cut: Vec<_> = within(&found, 1, 4).map(|s| (s.start, s.end, s.route)).collect();
        assert_eq!(cut, [(1, 2, 1), (2, 3, 0), (3, 4, 2)]);
    }

    #[test]
    fn a_route_that_does_not_exist_is_refused() {
        assert!(matches!(stretches(&[0, 3], 3), Err(Error::RouteIndex { index: 3, token: 1, count: 3 })));
        assert!(stretches(&[-1], 3).is_err());
    }
}
