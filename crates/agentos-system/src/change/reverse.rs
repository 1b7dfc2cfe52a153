//! In which order things are taken back.
//!
//! The last that was done is the first that is taken back. Acts are the exception: what a restart made take effect was
//! there before it, so it is restarted when that is back. Likewise systemd reads its units anew before one is started
//! whose file just came back.

use super::transition::{Irreversible, Transit, Transition};

/// The way back of one transition, or which thing has none and why.
pub(super) type Back = Result<Transition, (String, Irreversible)>;

/// The way back of what was done in that order. Acts alone have none: there is nothing that they would make take effect.
pub(super) fn way_back(done: &[&Transition]) -> Vec<Back> {
    let back = |transition: &Transition| transition.reversed().map_err(|reason| (transition.on(), reason));
    let (acts, states): (Vec<&Transition>, Vec<&Transition>) =
        done.iter().copied().partition(|transition| transition.is_act());
    let reload = acts.iter().find(|act| matches!(act, Transition::ManagerReload(_)));
    let mut way: Vec<Back> = Vec::with_capacity(done.len() + 1);
    let mut files_changed = false;
    for state in states.iter().rev().map(|state| back(state)) {
        if let (true, Some(reload), Ok(Transition::UnitRun(run))) = (files_changed, reload, &state)
            && run.starts()
        {
            way.push(back(reload));
            files_changed = false;
        }
        files_changed |= matches!(state, Ok(Transition::File(_)));
        way.push(state);
    }
    let nothing_else = way.is_empty();
    for act in acts {
        let again = match act {
            Transition::ManagerReload(_) => files_changed,
            _ => !nothing_else,
        };
        let act = back(act);
        if again || act.is_err() {
            way.push(act);
        }
    }
    way
}
