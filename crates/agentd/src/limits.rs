//! The limits as they are now: a reload changes them under way, and nothing that runs is cut off by it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::config::Limits;
use crate::principal::Role;

/// So many places, of which there can come to be more or fewer while some are taken.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    places: usize,
    /// Places that are taken and go when they are given back.
    owed: usize,
}

/// A place, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    gate: Arc<Gate>,
}

impl Gate {
    pub(crate) fn new(places: u16) -> Arc<Self> {
        let places = usize::from(places);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            size: Mutex::new(Size { places, owed: 0 }),
        })
    }

    /// A place, once there is one.
    pub(crate) async fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { permit: Some(permit), gate: Arc::clone(self) })
    }

    /// A place, if there is one.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { permit: Some(permit), gate: Arc::clone(self) })
    }

    /// Has `places` places from now on. Whoever holds one that is no longer there keeps it to its end.
    pub(crate) fn resize(&self, places: u16) {
        let places = usize::from(places);
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if places >= size.places {
            let more = places - size.places;
            let forgiven = more.min(size.owed);
            size.owed -= forgiven;
            self.places.add_permits(more - forgiven);
        } else {
            let fewer = size.places - places;
            size.owed += fewer - self.places.forget_permits(fewer);
        }
        size.places = places;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut size = self.gate.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size.owed > 0
            && let Some(permit) = self.permit.take()
        {
            size.owed -= 1;
            permit.forget();
        }
    }
}

/// The limits that hold, and the places they bound.
#[derive(Debug)]
pub(crate) struct LiveLimits {
    now: watch::Sender<Limits>,
    /// Blocking work under way: queries, memory, pages of the ledger.
    pub(crate) running: Arc<Gate>,
    /// Event streams open.
    pub(crate) streams: Arc<Gate>,
    agent_connections: Arc<Gate>,
    operator_connections: Arc<Gate>,
}

impl LiveLimits {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            now: watch::Sender::new(limits),
            running: Gate::new(limits.running_queries),
            streams: Gate::new(limits.streams),
            agent_connections: Gate::new(limits.connections),
            operator_connections: Gate::new(limits.connections),
        })
    }

    /// The limits as they are now.
    pub(crate) fn now(&self) -> Limits {
        *self.now.borrow()
    }

    /// Connections on the socket of `role`. Apart for each: however many the agent holds open, the operator gets in.
    pub(crate) fn connections(&self, role: Role) -> &Arc<Gate> {
        match role {
            Role::Agent => &self.agent_connections,
            Role::Operator => &self.operator_connections,
        }
    }

    /// Puts new limits in force.
    pub(crate) fn set(&self, limits: Limits) {
        self.running.resize(limits.running_queries);
        self.streams.resize(limits.streams);
        self.agent_connections.resize(limits.connections);
        self.operator_connections.resize(limits.connections);
        self.now.send_replace(limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(gate: &Arc<Gate>) -> Vec<Place> {
        std::iter::from_fn(|| gate.try_enter()).collect()
    }

    #[test]
    fn a_gate_that_grows_lets_more_in_at_once() {
        let gate = Gate::new(2);
        let held = take(&gate);
        assert_eq!(held.len(), 2);
        gate.resize(5);
        assert_eq!(take(&gate).len(), 3);
    }

    #[test]
    fn a_gate_that_shrinks_cuts_nobody_off_and_lets_nobody_in_before_there_is_room() {
        let gate = Gate::new(4);
        let mut held = take(&gate);
        gate.resize(1);
        for _ in 0..3 {
            held.pop();
            assert!(gate.try_enter().is_none());
        }
        held.pop();
        assert_eq!(take(&gate).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_order_there_are_as_many_places_as_the_last_size_says(
            steps in proptest::collection::vec((0_u8..3, 1_u16..20), 1..60)
        ) {
            let gate = Gate::new(3);
            let mut held = Vec::new();
            let mut size = 3;
            for (step, number) in steps {
                match step {
                    0 => {
                        gate.resize(number);
                        size = number;
                    }
                    1 => held.extend(gate.try_enter()),
                    _ => drop(held.pop()),
                }
            }
            drop(held);
            proptest::prop_assert_eq!(take(&gate).len(), usize::from(size));
        }
    }
}
