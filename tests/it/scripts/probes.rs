//! Which call finds out how a closed stage is, whose fault it was, and who else goes on meanwhile.

use std::time::Duration;

use reelq::job::{EntryFields, Request, Stage};
use reelq::queue::{Beat, BreakerEvent, Report, Reported, Settled, StageState, Witnesses};

use super::super::support::{id, report_of};
use super::{Scene, accept, refused, repoll, requeue, unconfirm};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

impl Scene {
    /// Jobs of a template, due at once.
    async fn jobs_of(&self, template: &str, count: usize) {
        for number in 0..count {
            let id = id(&format!("{template}-{number}"));
            let request = Request::new(id, "acme", template, "ann").phrase_texts(["Hello"]);
            let request = request.build().unwrap();
            self.at(0).enqueue(&request, &EntryFields::default()).await.unwrap();
        }
    }

    /// A worker's beat; `good_ms`: how long ago it had a good answer to a submit.
    async fn beat(&self, after_ms: u64, worker: &str, good_ms: Option<u64>) {
        let mut beat = Beat::of(worker);
        beat.good_ago.submit = good_ms.map(Duration::from_millis);
        self.at(after_ms).tick(beat).await.unwrap();
    }

    async fn taken_by(&self, after_ms: u64, worker: &'static str) -> Vec<String> {
        let claimed = self.at(after_ms).claim_submits(self.claimant(worker)).await.unwrap().0;
        claimed.jobs.into_iter().map(|job| job.id.to_string()).collect()
    }

    /// So many probes, 200 ms apart, which fail; and one more, after which it backs off.
    async fn probed_soon(&self, since_ms: u64, times: u64) {
        for probe in 1..=times + 1 {
            let now = since_ms + 200 * probe;
            assert_eq!(self.taken(now - 1, None).await.len(), 0, "probe {probe}");
            let [taken] = self.taken(now, None).await.try_into().unwrap();
            let record = self.at(now).record(&id(&taken)).await.unwrap().unwrap();
            let claim = record.get("claim").unwrap().parse().unwrap();
            self.settle(now, &taken, claim, requeue()).await;
            self.fails(now, &taken, |_| ()).await;
        }
        let backs_off = since_ms + 200 * (times + 1) + 2000;
        assert_eq!(self.taken(backs_off - 1, None).await.len(), 0);
    }

    /// The probe that is due failed.
    async fn fails(&self, after_ms: u64, id: &str, change: impl FnOnce(&mut Report<'_>)) {
        let id = super::super::support::id(id);
        let mut report = report_of(Stage::Submit, BreakerEvent::ProbeFailed, &id);
        change(&mut report);
        assert_eq!(self.report_as(after_ms, "w1", report).await, Reported::Changed);
    }
}

#[tokio::test]
async fn probes_are_picked_from_all_that_are_due_and_rather_of_other_pairs() {
    let scene = Scene::new().await;
    scene.jobs_of("bad", 500).await;
    scene.jobs_of("good", 50).await;
    let first = id("bad-0");
    let halted =
        Report { pairs: "bad acme", ..report_of(Stage::Submit, BreakerEvent::Halted, &first) };
    assert_eq!(scene.report_as(0, "w1", halted).await, Reported::Changed);
    for probe in 0..5_u64 {
        let now = 10_000 * (probe + 1);
        let taken = scene.taken(now, None).await;
        assert!(taken[0].starts_with("good-"), "probe {probe}: {taken:?}");
        scene.settle(now, &taken[0], 1, refused()).await;
        scene.fails(now, &taken[0], |it| it.pairs = "bad acme").await;
    }
}

/// Of one pair, twenty beside each other may be good among sixty that are not: six probes hit them,
/// wherever they stand.
#[tokio::test]
async fn a_few_probes_find_any_group_that_is_not_small() {
    let scene = Scene::new().await;
    let names: Vec<String> = (10..90).map(|number| format!("job-{number}")).collect();
    for name in &names {
        scene.waiting(name).await;
    }
    let first = id("job-10");
    let pairs =
        Report { pairs: "birthday acme", ..report_of(Stage::Submit, BreakerEvent::Halted, &first) };
    scene.report_as(0, "w1", pairs).await;
    let mut probed = Vec::new();
    for probe in 1..=6 {
        let now = 10_000 * probe;
        let [taken] = scene.taken(now, None).await.try_into().unwrap();
        probed.push(names.iter().position(|it| *it == taken).unwrap());
        scene.settle(now, &taken, 1, refused()).await;
        scene.fails(now, &taken, |it| it.pairs = "birthday acme").await;
    }
    for begin in 0..=60 {
        let group = begin..begin + 20;
        assert!(probed.iter().any(|at| group.contains(at)), "{group:?} not among {probed:?}");
    }
}

#[tokio::test]
async fn where_all_that_is_due_was_refused_that_is_probed_all_the_same() {
    let scene = Scene::new().await;
    scene.jobs_of("bad", 3).await;
    let first = id("bad-0");
    let halted =
        Report { pairs: "bad acme", ..report_of(Stage::Submit, BreakerEvent::Halted, &first) };
    scene.report_as(0, "w1", halted).await;
    assert_eq!(scene.taken(1000, None).await.len(), 1);
}

#[tokio::test]
async fn a_probe_that_surely_bought_nothing_stays_with_its_job_for_three_tries() {
    let scene = Scene::new().await;
    scene.waiting_jobs(20).await;
    assert_eq!(scene.taken(0, None).await.len(), 20);
    scene.settle(10, "job-7", 1, refused()).await;
    let first = id("job-7");
    let broken =
        Report { may_stay: true, ..report_of(Stage::Submit, BreakerEvent::Broken, &first) };
    scene.report_as(10, "w1", broken).await;
    for number in (0..20).filter(|it| *it != 7) {
        scene.settle(20, &format!("job-{number}"), 1, refused()).await;
    }
    // It is taken although it is not due yet.
    assert_eq!(scene.taken(1010, None).await, ["job-7"]);
    scene.settle(1020, "job-7", 2, refused()).await;
    scene.fails(1020, "job-7", |it| it.may_stay = true).await;
    assert_eq!(scene.taken(2020, None).await, ["job-7"], "the third try, after the same wait");
    scene.settle(2030, "job-7", 3, refused()).await;
    scene.fails(2030, "job-7", |it| it.may_stay = true).await;
    assert_eq!(scene.taken(4029, None).await.len(), 0, "the next job's waits twice as long");
    assert_ne!(scene.taken(4030, None).await, ["job-7"]);
}

#[tokio::test]
async fn after_calls_that_may_have_bought_something_a_status_check_comes_first() {
    let scene = Scene::new().await;
    let broken =
        |id| Report { may_have_bought: true, ..report_of(Stage::Submit, BreakerEvent::Broken, id) };
    let (first, none) = (id("job-0"), None);
    assert_eq!(scene.report_as(0, "w1", broken(&first)).await, Reported::Changed);
    assert_eq!(scene.claim(500, none).await.0.to_check, None, "there is nothing to be sent");
    scene.waiting_jobs(3).await;
    let (claimed, _) = scene.claim(500, none).await;
    assert_eq!((claimed.jobs.len(), claimed.to_check.as_deref()), (0, Some("reelq-check")));
    assert_eq!(scene.claim(600, none).await.0.to_check, None, "one at a time");
    let check = |event| Report { job: None, ..report_of(Stage::Submit, event, &first) };
    let failed = scene.report_as(700, "w1", check(BreakerEvent::ProbeFailed)).await;
    assert_eq!(failed, Reported::Changed);
    assert_eq!(scene.claim(2699, none).await.0.to_check, None, "it waits twice as long");
    assert!(scene.claim(2700, none).await.0.to_check.is_some());
    let answers = async || scene.report_as(2750, "w1", check(BreakerEvent::Answers)).await;
    assert_eq!(answers().await, Reported::Changed);
    assert_eq!(scene.claim(2750, none).await.0.jobs.len(), 1, "now a POST is tried");
    assert_eq!(answers().await, Reported::Nothing, "that was not the check's");
}

#[tokio::test]
async fn a_check_that_waits_for_no_job_is_asked_for_before_any_is_due() {
    let scene = Scene::new().await;
    scene.polling("accepted").await;
    scene.submitting("sent", 0).await;
    scene.settle(100, "sent", 1, unconfirm(false)).await;
    let sent = id("sent");
    let broken = report_of(Stage::Submit, BreakerEvent::Broken, &sent);
    scene.report_as(100, "w1", Report { may_have_bought: true, ..broken }).await;
    let (claimed, _) = scene.claim(150, None).await;
    assert_eq!(claimed.next_in, Some(150 * MS), "the repeat is due in half a minute");
    assert_eq!(scene.claim(300, None).await.0.to_check.as_deref(), Some("w-1"), "a job's own");
}

#[tokio::test]
async fn a_worker_closes_nothing_while_another_is_well() {
    let scene = Scene::new().await;
    let job = id("a");
    let halted = |witnesses, run_for| Report {
        witnesses,
        run_for,
        ..report_of(Stage::Poll, BreakerEvent::Halted, &job)
    };
    scene.beat(10_000, "w1", Some(0)).await;
    let alone = halted(Witnesses::AnyStage, SECOND);
    assert_eq!(scene.report_as(10_000, "w1", alone).await, Reported::Changed, "its own answer");
    let opened = report_of(Stage::Poll, BreakerEvent::Alive, &job);
    scene.report_as(10_000, "w1", opened).await;
    scene.beat(20_000, "w2", Some(100)).await;
    for (after_ms, witnesses, run_for, reported) in [
        (20_000, Witnesses::AnyStage, 0, Reported::Own),
        (22_800, Witnesses::AnyStage, 0, Reported::Own),
        (22_901, Witnesses::AnyStage, 0, Reported::Changed),
        (22_901, Witnesses::AnyStage, 3000, Reported::Changed),
        (22_901, Witnesses::AnyStage, 3002, Reported::Own),
        (20_000, Witnesses::SameStage, 9000, Reported::Changed),
        (20_000, Witnesses::Nobody, 9000, Reported::Changed),
    ] {
        let report = halted(witnesses, Duration::from_millis(run_for));
        let told = scene.report_as(after_ms, "w1", report).await;
        assert_eq!(told, reported, "{after_ms} {witnesses:?} {run_for}");
        let _: u64 = scene.0.command(&["DEL", "reelq:{video}:stage:poll"]).await;
    }
    // A limit, and what an open stage is told, are no worker's own.
    let own = halted(Witnesses::AnyStage, 9 * SECOND);
    let limited = Report { event: BreakerEvent::Limited, ..own };
    assert_eq!(scene.report_as(20_000, "w1", limited).await, Reported::Changed);
}

#[tokio::test]
async fn another_worker_has_the_first_try_of_a_stage() {
    let scene = Scene::new().await;
    scene.waiting_jobs(3).await;
    let first = id("job-0");
    for worker in ["w1", "w2"] {
        scene.beat(0, worker, None).await;
    }
    scene.report_as(0, "w1", report_of(Stage::Submit, BreakerEvent::Halted, &first)).await;
    scene.beat(1000, "w2", None).await;
    assert_eq!(scene.taken_by(1000, "w1").await.len(), 0);
    let taken = scene.taken_by(1000, "w2").await;
    assert_eq!(taken.len(), 1);
    let probe = id(&taken[0]);
    let failed = report_of(Stage::Submit, BreakerEvent::ProbeFailed, &probe);
    assert_eq!(scene.report_as(1010, "w2", failed).await, Reported::Changed);
    for worker in ["w1", "w2"] {
        scene.beat(3000, worker, None).await;
    }
    assert_eq!(scene.taken_by(3010, "w2").await.len(), 0, "its own probe failed");
    assert_eq!(scene.taken_by(3010, "w1").await.len(), 1);
    // Nobody else takes it: then it tries again after all.
    let _: u64 = scene.0.command(&["DEL", "reelq:{video}:stage:submit"]).await;
    scene.report_as(9000, "w1", report_of(Stage::Submit, BreakerEvent::Halted, &first)).await;
    for worker in ["w1", "w2"] {
        scene.beat(11_000, worker, None).await;
    }
    assert_eq!(scene.taken_by(11_999, "w1").await.len(), 0);
    assert_eq!(scene.taken_by(12_000, "w1").await.len(), 1);
}

#[tokio::test]
async fn a_stage_that_broke_after_a_good_answer_is_probed_five_times_soon() {
    let scene = Scene::new().await;
    scene.waiting_jobs(60).await;
    let first = id("job-0");
    let broken = |good_ms: u64| Report {
        good_ago: Some(Duration::from_millis(good_ms)),
        ..report_of(Stage::Submit, BreakerEvent::Broken, &first)
    };
    scene.report_as(0, "w1", broken(2000)).await;
    scene.probed_soon(0, 5).await;
    let _: u64 = scene.0.command(&["DEL", "reelq:{video}:stage:submit"]).await;
    scene.report_as(50_000, "w1", broken(10_000)).await;
    assert_eq!(scene.taken(50_999, None).await.len(), 0, "that was too long ago");
}

#[tokio::test]
async fn submit_that_is_halted_again_is_probed_ten_times_soon() {
    let scene = Scene::new().await;
    scene.waiting_jobs(60).await;
    let first = id("job-0");
    let halts = async |now| {
        let halted = Report {
            witnesses: Witnesses::SameStage,
            ..report_of(Stage::Submit, BreakerEvent::Halted, &first)
        };
        assert_eq!(scene.report_as(now, "w1", halted).await, Reported::Changed);
    };
    halts(0).await;
    assert_eq!(scene.taken(999, None).await.len(), 0, "the first time it backs off");
    scene.report_as(1000, "w1", report_of(Stage::Submit, BreakerEvent::Alive, &first)).await;
    halts(10_999).await;
    scene.probed_soon(10_999, 10).await;
    scene.report_as(50_000, "w1", report_of(Stage::Submit, BreakerEvent::Alive, &first)).await;
    halts(60_000).await;
    assert_eq!(scene.taken(60_999, None).await.len(), 0, "that was too long ago");
}

#[tokio::test]
async fn a_limit_that_one_pair_met_lets_others_through() {
    let scene = Scene::new().await;
    scene.jobs_of("sick", 5).await;
    scene.jobs_of("well", 3).await;
    let first = id("sick-0");
    let limited = Report {
        pairs: "sick acme",
        wait: 300 * SECOND,
        ..report_of(Stage::Submit, BreakerEvent::Limited, &first)
    };
    assert_eq!(scene.report_as(0, "w1", limited).await, Reported::Changed);
    let (claimed, _) = scene.claim(1, None).await;
    assert!(claimed.is_probe && claimed.jobs[0].id.as_str().starts_with("well-"));
    assert_eq!(scene.claim(200, None).await.0.jobs.len(), 0, "one every 200 ms");
    assert_eq!(scene.claim(201, None).await.0.jobs.len(), 1);
    assert_eq!(scene.claim(401, None).await.0.jobs.len(), 1);
    assert_eq!(scene.claim(601, None).await.0.jobs.len(), 0, "only the sick are left");
    let well = id("well-0");
    let good = report_of(Stage::Submit, BreakerEvent::Alive, &well);
    assert_eq!(scene.report_as(700, "w1", good).await, Reported::Changed);
    assert_eq!(scene.claim(700, None).await.0.jobs.len(), 5);
}

#[tokio::test]
async fn a_limit_that_a_second_pair_meets_is_everybodys() {
    let scene = Scene::new().await;
    scene.jobs_of("well", 3).await;
    let first = id("sick-0");
    let all =
        Report { wait: 300 * SECOND, ..report_of(Stage::Submit, BreakerEvent::Limited, &first) };
    scene.report_as(0, "w1", Report { pairs: "sick acme", ..all }).await;
    assert_eq!(scene.claim(1, None).await.0.jobs.len(), 1);
    scene.report_as(10, "w1", all).await;
    assert_eq!(scene.claim(1000, None).await.0.jobs.len(), 0);
}

#[tokio::test]
async fn the_answer_that_opens_one_stage_has_the_other_probed() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let a = id("a");
    for stage in Stage::ALL {
        let broken = Report { wait: 60 * SECOND, ..report_of(stage, BreakerEvent::Broken, &a) };
        scene.report_as(0, "w1", broken).await;
    }
    assert_eq!(scene.taken(1000, None).await.len(), 0);
    scene.report_as(1000, "w1", report_of(Stage::Poll, BreakerEvent::Alive, &a)).await;
    assert_eq!(scene.taken(1000, None).await.len(), 1);
}

#[tokio::test]
async fn while_no_check_is_understood_ten_a_second_are_made_of_all_that_are_due() {
    let scene = Scene::new().await;
    for number in 0..60 {
        let name = format!("job-{number}");
        scene.submitting(&name, 0).await;
        assert_eq!(scene.settle(100, &name, 1, accept("w-1")).await, Settled::Done);
    }
    assert_eq!(scene.claim_polls(2000).await.len(), 60);
    for number in 0..60 {
        let streak = "not-found 1 0 1 1 0";
        scene.settle(2000, &format!("job-{number}"), 2, repoll(streak)).await;
    }
    let checks_within_a_second = async |second: u64| {
        let mut taken = Vec::new();
        for tick in 0..50 {
            taken.extend(scene.claim_polls(second * 1000 + tick * 20).await);
        }
        taken.into_iter().map(|job| job.id.to_string()).collect::<Vec<_>>()
    };
    let few = checks_within_a_second(70).await;
    assert_eq!(few.len(), 10);
    assert_ne!(few, (0..10).map(|it| format!("job-{it}")).collect::<Vec<_>>(), "not the head");
    let mut beat = Beat::of("w1");
    beat.good_ago.poll = Some(SECOND);
    let tick = scene.at(72_000).tick(beat).await.unwrap();
    assert_eq!(tick.understood_ago, Some(SECOND));
    assert_eq!(checks_within_a_second(73).await.len(), 50, "all that were left");
}

#[tokio::test]
async fn a_beat_tells_who_is_ill_and_that_a_pause_makes_no_job_older() {
    let scene = Scene::new().await;
    let ill = Beat { ill: Some("no name resolution"), ..Beat::of("w1") };
    scene.at(0).tick(ill).await.unwrap();
    let why: String = scene.0.command(&["HGET", "reelq:{video}:ill", "w1"]).await;
    assert_eq!(why, "no name resolution");
    scene.at(1000).tick(Beat::of("w1")).await.unwrap();
    assert!(!scene.0.exists("ill").await);
    scene.waiting("old").await;
    scene.at(0).pause("").await.unwrap();
    let day = 86_400_000;
    scene.at(day - 10).tick(Beat::of("w1")).await.unwrap();
    let _: u64 = scene.0.command(&["DEL", "reelq:{video}:paused"]).await;
    let (claimed, overdue) = scene.claim(day + 10, None).await;
    assert_eq!((claimed.jobs.len(), overdue.expired), (1, 0));
    assert_eq!(claimed.state, StageState::Open);
}
