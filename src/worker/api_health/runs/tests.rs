//! What follows from each kind of sign, alone and in a row.

use super::*;

const LIMITED: ApiSignal = ApiSignal::Limited(Duration::ZERO);
const REFUSED: ApiSignal = ApiSignal::Refused(Refusal::Call);
const FAILING: ApiSignal = ApiSignal::Failing { wants_to_wait: false };
const ALL_BAD: [ApiSignal; 7] = [
    REFUSED,
    FAILING,
    LIMITED,
    ApiSignal::Gateway,
    ApiSignal::Silent,
    ApiSignal::Strange,
    ApiSignal::Unreachable,
];

struct Seen {
    runs: Runs,
    state: StageState,
}

impl Seen {
    fn new(stage: Stage) -> Self {
        Self { runs: Runs::new(stage), state: StageState::Open }
    }

    fn note(&mut self, id: &str, pair: &str, signal: ApiSignal) -> Noted {
        let id = JobId::new(id).unwrap();
        self.runs.note(Caller { id: &id, pair }, signal, self.state, false)
    }

    /// The event that the last of so many jobs of a pair brings.
    fn many(&mut self, jobs: usize, pair: &str, signal: ApiSignal) -> Option<BreakerEvent> {
        let mut sign = None;
        for n in 0..jobs {
            sign = self.note(&format!("{pair}-{n}"), pair, signal).sign;
        }
        sign.map(|it| it.event)
    }
}

#[test]
fn ten_refused_jobs_in_a_row_halt_and_any_other_answer_between_does_not() {
    for stage in Stage::ALL {
        let mut seen = Seen::new(stage);
        assert_eq!(seen.many(9, "p", REFUSED), None);
        assert_eq!(seen.note("p-0", "p", REFUSED).sign, None, "the same job again");
        let tenth = seen.note("p-10", "p", REFUSED).sign.unwrap();
        assert_eq!((tenth.event, tenth.pairs.as_str()), (BreakerEvent::Halted, "p"));
        for answer in [ApiSignal::Alive, ApiSignal::Answered, LIMITED, ApiSignal::Strange] {
            let mut seen = Seen::new(stage);
            seen.many(9, "p", REFUSED);
            seen.note("other", "q", answer);
            assert_eq!(seen.many(9, "r", REFUSED), None, "{answer:?}");
        }
    }
}

#[test]
fn credentials_halt_at_once_and_a_fresh_token_refused_for_two_jobs() {
    let by = ApiSignal::Refused;
    let mut seen = Seen::new(Stage::Submit);
    assert_eq!(seen.many(1, "p", by(Refusal::Credentials)), Some(BreakerEvent::Halted));
    let mut seen = Seen::new(Stage::Submit);
    assert_eq!(seen.many(1, "p", by(Refusal::Token)), None);
    assert_eq!(seen.note("p-0", "p", by(Refusal::Token)).sign, None);
    assert_eq!(seen.many(2, "p", by(Refusal::Token)), Some(BreakerEvent::Halted));
}

#[test]
fn ten_faults_in_a_row_of_five_jobs_break() {
    for fault in [FAILING, ApiSignal::Unreachable] {
        let mut seen = Seen::new(Stage::Submit);
        assert_eq!(seen.many(9, "p", fault), None, "{fault:?}");
        assert_eq!(seen.many(1, "p", fault), Some(BreakerEvent::Broken), "{fault:?}");
        let mut seen = Seen::new(Stage::Submit);
        (0..40).for_each(|n| {
            assert_eq!(seen.note(&format!("{}", n % 4), "p", fault).sign, None, "four jobs");
        });
        let mut seen = Seen::new(Stage::Submit);
        seen.many(9, "p", fault);
        seen.note("it-answered", "q", REFUSED);
        assert_eq!(seen.many(9, "p", fault), None, "{fault:?}");
    }
}

/// Such a POST may have been billed: the API is asked before more are sent.
#[test]
fn what_a_fault_may_have_bought_goes_with_it() {
    for (fault, dear) in [
        (FAILING, false),
        (ApiSignal::Unreachable, false),
        (ApiSignal::Silent, true),
        (ApiSignal::Gateway, true),
    ] {
        for (stage, may_have_bought) in [(Stage::Submit, dear), (Stage::Poll, false)] {
            let mut seen = Seen::new(stage);
            seen.many(9, "p", fault);
            let tenth = seen.note("p-9", "p", fault).sign.unwrap();
            assert_eq!(tenth.event, BreakerEvent::Broken);
            assert_eq!(
                (tenth.may_have_bought, tenth.may_stay),
                (may_have_bought, !may_have_bought)
            );
        }
    }
}

#[test]
fn a_run_of_answers_that_nobody_understands_halts_for_minutes() {
    let mut seen = Seen::new(Stage::Submit);
    assert_eq!(seen.many(2, "p", ApiSignal::Strange), None);
    let third = seen.note("p-2", "p", ApiSignal::Strange).sign.unwrap();
    assert_eq!(third.event, BreakerEvent::Halted);
    assert_eq!(third.waits, Some((STRANGE_WAIT, STRANGE_WAIT_AT_MOST)));
}

#[test]
fn a_pair_that_is_refused_while_others_are_accepted_is_at_fault_itself() {
    for bad in [REFUSED, FAILING, LIMITED, ApiSignal::Strange, ApiSignal::Gateway] {
        let mut seen = Seen::new(Stage::Submit);
        seen.note("first", "sick", bad);
        seen.note("good", "well", ApiSignal::Alive);
        seen.note("second", "sick", bad);
        let noted: Vec<_> = (0..50).map(|n| seen.note(&format!("{n}"), "sick", bad)).collect();
        assert!(noted.iter().all(|it| it.sign.is_none() && it.clean), "{bad:?}");
        // Until it is let in again.
        seen.note("healed", "sick", ApiSignal::Alive);
        assert!(!seen.note("again", "sick", bad).clean, "{bad:?}");
    }
}

#[test]
fn no_pair_is_at_fault_without_a_good_answer_of_another_since() {
    let mut seen = Seen::new(Stage::Submit);
    seen.note("good", "well", ApiSignal::Alive);
    assert_eq!(seen.many(10, "sick", REFUSED), Some(BreakerEvent::Halted));
    // Where there was no answer, nobody judged the pair.
    for fault in [ApiSignal::Unreachable, ApiSignal::Silent] {
        let mut seen = Seen::new(Stage::Poll);
        seen.many(3, "sick", fault);
        seen.note("good", "well", ApiSignal::Alive);
        assert_eq!(seen.many(10, "sick", fault), Some(BreakerEvent::Broken), "{fault:?}");
    }
}

#[test]
fn a_limit_is_everybodys_from_two_pairs_or_three_jobs() {
    let wait = Duration::from_secs(300);
    let limited = ApiSignal::Limited(wait);
    let mut seen = Seen::new(Stage::Poll);
    assert_eq!(seen.many(2, "p", limited), None);
    let third = seen.note("p-2", "p", limited).sign.unwrap();
    assert_eq!((third.event, third.waits), (BreakerEvent::Limited, Some((wait, wait))));
    assert_eq!(third.pairs, "p", "others may be let in");
    let mut seen = Seen::new(Stage::Poll);
    seen.note("a", "p", limited);
    let second = seen.note("b", "q", limited).sign.unwrap();
    assert_eq!((second.event, second.pairs.as_str()), (BreakerEvent::Limited, ""));
}

/// Good answers come between: fewer calls a second will do. Two jobs may have a limit of their own.
#[tokio::test(start_paused = true)]
async fn a_limit_that_lets_some_in_is_one_from_three_jobs_within_ten_seconds() {
    let limited = ApiSignal::Limited(Duration::from_secs(300));
    let mut seen = Seen::new(Stage::Poll);
    let mut meets = |id| {
        seen.note("good", "p", ApiSignal::Alive);
        seen.note(id, "p", limited).sign
    };
    for id in ["a", "b", "a", "b"] {
        assert_eq!(meets(id), None, "{id}");
    }
    tokio::time::advance(LATELY).await;
    for id in ["c", "d"] {
        assert_eq!(meets(id), None, "{id}");
    }
    let third = meets("e").unwrap();
    assert_eq!(third.waits, Some((Duration::ZERO, Duration::ZERO)), "it is let in, less often");
}

#[test]
fn what_was_seen_before_a_stage_was_reopened_says_nothing() {
    for bad in ALL_BAD {
        let mut seen = Seen::new(Stage::Submit);
        let mut others = Seen::new(Stage::Submit);
        seen.many(9, "p", bad);
        seen.runs.reopened();
        // Another pair, since this one may be at fault by now.
        assert_eq!(seen.many(1, "q", bad), others.many(1, "q", bad), "{bad:?}");
        assert_eq!(seen.runs.length(), 1);
    }
}

#[test]
fn what_a_probe_finds_opens_or_keeps_closed() {
    let probe = |signal, state| {
        let id = JobId::new("a").unwrap();
        let caller = Caller { id: &id, pair: "p" };
        Runs::new(Stage::Submit).note(caller, signal, state, true).sign.map(|it| it.event)
    };
    for state in [StageState::Halted, StageState::Broken] {
        for answer in [ApiSignal::Alive, ApiSignal::Answered] {
            assert_eq!(probe(answer, state), Some(BreakerEvent::Alive));
        }
        for fault in [FAILING, ApiSignal::Unreachable, ApiSignal::Silent, ApiSignal::Gateway] {
            assert_eq!(probe(fault, state), Some(BreakerEvent::ProbeFailed));
        }
        assert_eq!(probe(ApiSignal::Nothing, state), Some(BreakerEvent::ProbeFailed));
    }
    assert_eq!(probe(REFUSED, StageState::Halted), Some(BreakerEvent::ProbeFailed));
    assert_eq!(probe(LIMITED, StageState::Halted), Some(BreakerEvent::ProbeFailed));
    assert_eq!(probe(REFUSED, StageState::Broken), Some(BreakerEvent::Alive), "it answers");
    assert_eq!(probe(ApiSignal::Alive, StageState::Limited), Some(BreakerEvent::Alive));
    let mut seen = Seen::new(Stage::Submit);
    seen.state = StageState::Halted;
    assert_eq!(seen.many(1, "p", ApiSignal::Alive), Some(BreakerEvent::Alive), "as good");
    assert_eq!(Seen::new(Stage::Submit).many(9, "p", ApiSignal::Nothing), None);
}
