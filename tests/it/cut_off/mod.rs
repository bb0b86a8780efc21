//! Scripts that are cut off: Redis undoes nothing of what a script wrote before one of its commands
//! was refused (a missing right, a wrong type, no memory).
//!
//! Each call is cut off at each of its commands in each state that leads there, alone and in a
//! batch of three, and each of its commands is refused wherever it comes. Then the fault is gone:
//! either the call is repeated (perhaps after an operator's word), or its caller is dead; the other workers do what they do all the
//! time, until the last deadline has passed. Whatever happened, each job has then ended, with a result
//! of each revision, in no place, and nothing was bought again that was known to be bought.
//!
//! - `states`, `calls`: the cases.
//! - `world`: the workers.
//! - `scissors`: what cuts.
//! - `judge`: what is wrong.

mod calls;
pub(crate) mod judge;
mod scissors;
mod states;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use self::calls::Call;
use self::judge::{has_ended, record, verdict};
use self::scissors::Cut;
use self::states::State;
use self::world::World;
use crate::support::{id, say};

/// What becomes of the caller whose call was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Repeats,
    Dies,
    /// An operator retries the jobs before the call is repeated.
    RepeatsAfterRetry,
    /// An operator cancels them before that.
    RepeatsAfterCancel,
}

/// How many jobs there are, and what becomes of the caller.
const RUNS: [(usize, Caller); 6] = [
    (1, Caller::Repeats),
    (3, Caller::Repeats),
    (1, Caller::Dies),
    (3, Caller::Dies),
    (1, Caller::RepeatsAfterRetry),
    (1, Caller::RepeatsAfterCancel),
];

/// One run that came to its end.
struct Ran {
    /// What the call, or its repetition, answered.
    answer: Option<String>,
    /// The commands that were called until it was cut off.
    called: Vec<String>,
    posts: BTreeMap<String, u64>,
    /// Whether the call failed.
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    state: State,
    call: Call,
    jobs: usize,
    caller: Caller,
}

impl Case {
    fn ids(self) -> Vec<String> {
        (0..self.jobs).map(|number| format!("job-{number}")).collect()
    }

    /// Plays the case once; what is wrong in the end is an error.
    async fn play(self, world: &mut World, cut: &Cut) -> Result<Ran, String> {
        let ids = self.ids();
        world.reset().await;
        self.state.prepare(world, &ids).await;
        world.now += self.call.later_ms();
        world.next_number();
        world.scissors.cut(&world.queue, cut).await;
        let behind = world.cut.at(world.now);
        let first = self.call.make(world, &behind, &ids).await;
        let called = world.scissors.close(&world.queue).await;
        let failed = first.is_err();
        // What must not be bought again: what was accepted, or has ended.
        let mut bought = BTreeSet::new();
        for id in &ids {
            let record = record(&world.queue, id).await;
            let followed = record.get("state").is_some_and(|it| it == "polling");
            let may_buy = self.call.buys_again() || self.caller == Caller::RepeatsAfterRetry;
            if (followed || has_ended(&record)) && !may_buy {
                bought.insert(id.clone());
            }
        }
        let reopened = self.operate(world, &ids).await;
        let mut answer = first.ok();
        if self.caller != Caller::Dies {
            if answer.is_none() {
                let queue = world.at_now();
                let again = self.call.make(world, &queue, &ids).await;
                answer = Some(again.map_err(|error| format!("the repetition failed: {error}"))?);
            }
            for id in reopened.iter().filter(|_| self.call.is_fenced()) {
                if has_ended(&record(&world.queue, id).await) {
                    return Err(format!("{id} was let live again, and a late failure ended it"));
                }
            }
            world.go_on().await;
        }
        world.live_on(&bought).await?;
        let must_exist =
            self.state != State::Nothing || answer.is_some() && self.call == Call::Enqueue;
        let mut wrong = verdict(&world.queue, &ids, must_exist).await;
        for (id, sent) in &world.posts {
            let record = record(&world.queue, id).await;
            let billed = record.get("posts").and_then(|it| it.parse().ok()).unwrap_or(0);
            if *sent > billed {
                wrong.push(format!("{id}: {sent} POSTs were sent, and {billed} counted"));
            }
        }
        if wrong.is_empty() {
            let posts = world.posts.clone();
            return Ok(Ran { answer, called, posts, failed });
        }
        Err(wrong.join("; "))
    }

    /// What an operator does meanwhile; returns the jobs that he let live again.
    async fn operate(self, world: &World, ids: &[String]) -> Vec<String> {
        let job_ids: Vec<_> = ids.iter().map(|it| id(it)).collect();
        let mut reopened = Vec::new();
        if self.caller == Caller::RepeatsAfterCancel {
            world.at_now().cancel(&job_ids, None).await.unwrap();
        }
        if self.caller == Caller::RepeatsAfterRetry {
            for id in ids {
                let was_over = has_ended(&record(&world.queue, id).await);
                let retried = world.at_now().retry(&job_ids, false, false).await.unwrap();
                if was_over && retried.iter().all(|it| it.state().is_some()) {
                    reopened.push(id.clone());
                }
            }
        }
        reopened
    }

    /// Plays the case with every cut; what went wrong, by cut, and how many there were.
    async fn all_cuts(self, world: &mut World) -> (usize, Vec<String>) {
        let mut wrong = Vec::new();
        let told = |cut: &Cut, why: String| format!("{self:?} {cut:?}: {why}");
        let whole = match self.play(world, &Cut::Nowhere).await {
            Ok(whole) => whole,
            Err(why) => return (1, vec![told(&Cut::Nowhere, why)]),
        };
        let names: BTreeSet<_> = whole.called.iter().cloned().collect();
        let by_name = names.into_iter().map(Cut::Command);
        let cuts: Vec<_> = match self.caller {
            Caller::Repeats | Caller::Dies => {
                (1..=whole.called.len()).map(Cut::At).chain(by_name).collect()
            }
            Caller::RepeatsAfterRetry | Caller::RepeatsAfterCancel => {
                (1..=whole.called.len()).map(Cut::At).collect()
            }
        };
        let mut count = 0;
        for cut in cuts {
            count += 1;
            match self.play(world, &cut).await {
                Ok(ran) => wrong.extend(self.compare(&whole, &ran).map(|why| told(&cut, why))),
                Err(why) => wrong.push(told(&cut, why)),
            }
        }
        (count, wrong)
    }

    /// What differs from the run that was not cut off, and must not.
    fn compare(self, whole: &Ran, ran: &Ran) -> Option<String> {
        if self.caller != Caller::Repeats {
            return None;
        }
        for (id, sent) in &ran.posts {
            let expected = whole.posts.get(id).copied().unwrap_or(0);
            if *sent > expected {
                return Some(format!("{id}: {sent} POSTs instead of {expected}"));
            }
        }
        let differs = ran.failed && self.call.answers_again() && ran.answer != whole.answer;
        differs.then(|| format!("answered {:?} instead of {:?}", ran.answer, whole.answer))
    }
}

/// All cases of some states, on a server of their own.
async fn all_cases(states: &[State]) {
    let mut world = World::new().await;
    let (mut cases, mut cuts, mut wrong) = (0, 0, Vec::new());
    for state in states.iter().copied() {
        for call in Call::ALL.into_iter().filter(|call| call.is_possible(state)) {
            for (jobs, caller) in RUNS {
                let (count, more) = Case { state, call, jobs, caller }.all_cuts(&mut world).await;
                cases += 1;
                cuts += count;
                wrong.extend(more);
            }
        }
    }
    say(&format!("{cases} cases of calls and states, cut off in {cuts} ways\n"));
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {cuts} went wrong:\n{shown}", wrong.len());
    assert!(cuts > 500, "only {cuts}");
}

#[tokio::test]
async fn no_cut_loses_or_buys_twice_what_was_never_accepted() {
    all_cases(&State::ALL[..10]).await;
}

#[tokio::test]
async fn no_cut_loses_or_buys_twice_what_was_accepted_or_has_ended() {
    all_cases(&State::ALL[10..]).await;
}
