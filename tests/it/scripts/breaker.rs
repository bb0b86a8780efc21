//! A stage that is closed or limited: what claims may take, probes, and what opens it.

use std::time::Duration;

use expect_test::expect;
use reelq::job::{JobId, Stage};
use reelq::queue::{
    Beat, BreakerEvent, Claimant, Claimed, Overdue, Report, Reported, Settled, StageState,
    SubmitClaim,
};

use super::super::support::{id, job, report_of};
use super::{Scene, check, refused};

const SECOND: Duration = Duration::from_secs(1);

impl Scene {
    /// BreakerEvent of the submit stage, from the call of this job.
    pub(super) async fn report(&self, after_ms: u64, event: BreakerEvent, job: &JobId) -> bool {
        self.report_as(after_ms, "w1", report_of(Stage::Submit, event, job)).await
            == Reported::Changed
    }

    pub(super) async fn report_as<'a>(
        &self,
        after_ms: u64,
        worker: &'a str,
        report: Report<'a>,
    ) -> Reported {
        self.at(after_ms).report(Report { worker, ..report }).await.unwrap()
    }

    pub(super) async fn claim(
        &self,
        after_ms: u64,
        rate: Option<f64>,
    ) -> (Claimed<SubmitClaim>, Overdue) {
        let claimant = Claimant { rate, ..self.claimant("w1") };
        self.at(after_ms).claim_submits(claimant).await.unwrap()
    }

    /// The ids that a claim takes.
    pub(super) async fn taken(&self, after_ms: u64, rate: Option<f64>) -> Vec<String> {
        let claimed = self.claim(after_ms, rate).await.0;
        claimed.jobs.into_iter().map(|job| job.id.to_string()).collect()
    }

    pub(super) async fn waiting_jobs(&self, count: usize) {
        for number in 0..count {
            self.waiting(&format!("job-{number}")).await;
        }
    }
}

#[tokio::test]
async fn a_halted_stage_gives_one_probe_at_a_time_each_of_another_job() {
    let scene = Scene::new().await;
    scene.waiting_jobs(3).await;
    let a = id("job-0");
    assert!(scene.report(0, BreakerEvent::Halted, &a).await);
    assert!(!scene.report(5, BreakerEvent::Halted, &a).await, "it is halted");
    let (closed, _) = scene.claim(999, None).await;
    assert_eq!((closed.jobs.len(), closed.state), (0, StageState::Halted));
    assert_eq!(closed.next_in, Some(Duration::from_millis(1)));
    let claimant = scene.claimant("w1");
    let probe = async || {
        let claimed = scene.at(1000).claim_submits(claimant).await.unwrap().0;
        (claimed.jobs, claimed.is_probe)
    };
    let first = probe().await;
    scene.twice(first.clone(), probe).await;
    let first_id = first.0[0].id.clone();
    assert_eq!((first.0.len(), first.1), (1, true));
    assert_ne!(first_id, a, "it has just been refused");
    assert_eq!(scene.taken(1001, None).await.len(), 0, "one at a time");
    assert_eq!(scene.settle(1010, first_id.as_str(), 1, refused()).await, Settled::Done);
    assert!(scene.report(1010, BreakerEvent::ProbeFailed, &first_id).await);
    let again = async || scene.report(1011, BreakerEvent::ProbeFailed, &first_id).await;
    scene.twice(false, again).await;
    let hash = scene.0.dump().await;
    let hash = hash.lines().skip_while(|it| *it != "stage:submit").take(2).collect::<Vec<_>>();
    check(
        &hash.join("\n"),
        expect![[r#"
        stage:submit
          answered 0 | asks 0 | closed-by w1 | next-probe 1800000003010 | picked 1 | probed job-2 | probes 1 | probing 0 | reason 403 | since 1800000000000 | state halted | sticky 0 | tries 0 | wait 1000 | wait-max 3000
    "#]],
    );
    let (second, _) = scene.claim(3010, None).await;
    assert!(second.is_probe);
    assert_ne!(second.jobs[0].id, first_id, "it is due again, and was the last");
    assert!(!scene.report(3020, BreakerEvent::ProbeFailed, &first_id).await, "not the probe's own");
    assert!(scene.report(3020, BreakerEvent::ProbeFailed, &second.jobs[0].id).await);
    assert_eq!(scene.taken(6019, None).await.len(), 0, "the longest wait is 3 s");
    assert_eq!(scene.taken(6020, None).await.len(), 1);
}

#[tokio::test]
async fn the_first_success_opens_a_stage_for_all() {
    let scene = Scene::new().await;
    scene.waiting_jobs(3).await;
    let a = id("job-0");
    scene.report(0, BreakerEvent::Halted, &a).await;
    assert!(scene.report(100, BreakerEvent::Alive, &a).await);
    let dump = scene.twice(false, async || scene.report(100, BreakerEvent::Alive, &a).await).await;
    check(
        &dump,
        expect![[r#"
            halt-ended:submit ttl 86400 s
              1800000000100
            job:job-0
              accepted-at 1800000000000 | attempts 0 | body-sha1 383c.. | claim 0 | customer-id acme | history +0 accepted | next-at 1800000000000 | polls 0 | posts 0 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1
            job:job-1
              accepted-at 1800000000000 | attempts 0 | body-sha1 5d42.. | claim 0 | customer-id acme | history +0 accepted | next-at 1800000000000 | polls 0 | posts 0 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1
            job:job-2
              accepted-at 1800000000000 | attempts 0 | body-sha1 3835.. | claim 0 | customer-id acme | history +0 accepted | next-at 1800000000000 | polls 0 | posts 0 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1
            submit
              job-0 1800000000000
              job-1 1800000000000
              job-2 1800000000000
        "#]],
    );
    assert_eq!(scene.taken(100, None).await.len(), 3);
}

#[tokio::test]
async fn a_probe_whose_caller_died_is_followed_by_another() {
    let scene = Scene::new().await;
    scene.waiting_jobs(2).await;
    scene.report(0, BreakerEvent::Broken, &id("job-0")).await;
    assert_eq!(scene.taken(1000, None).await, ["job-1"]);
    assert_eq!(scene.taken(60_999, None).await.len(), 0);
    assert_eq!(scene.taken(61_000, None).await, ["job-0"]);
}

#[tokio::test]
async fn a_halt_says_more_than_a_break_and_a_break_more_than_a_limit() {
    let scene = Scene::new().await;
    let a = id("a");
    assert!(scene.report(0, BreakerEvent::Limited, &a).await);
    assert!(scene.report(1, BreakerEvent::Broken, &a).await);
    assert!(!scene.report(2, BreakerEvent::Limited, &a).await);
    assert!(scene.report(3, BreakerEvent::Halted, &a).await);
    assert!(!scene.report(4, BreakerEvent::Broken, &a).await);
    assert_eq!(scene.at(5).stats().await.unwrap().stages.submit.state, StageState::Halted);
}

/// Claims find such a stage closed, so a good answer must be able to open it.
#[tokio::test]
async fn a_word_that_somebody_wrote_by_hand_closes_a_stage_as_a_break_does() {
    let scene = Scene::new().await;
    let _: u64 = scene.0.command(&["HSET", "reelq:{video}:stage:submit", "state", "shut"]).await;
    scene.waiting_jobs(2).await;
    let (claimed, _) = scene.claim(1, None).await;
    assert_eq!((claimed.state, claimed.is_probe), (StageState::Broken, true));
    let queue = scene.at(2);
    assert_eq!(queue.stats().await.unwrap().stages.submit.state, StageState::Broken);
    assert_eq!(queue.tick(Beat::of("w1")).await.unwrap().stages.submit.state, StageState::Broken);
    let probed = &claimed.jobs[0].id;
    assert!(!scene.report(3, BreakerEvent::Limited, probed).await, "a break says more");
    assert!(scene.report(4, BreakerEvent::Alive, probed).await);
    let [left] = scene.taken(5, None).await.try_into().unwrap();
    assert_ne!(left, probed.as_str());
}

#[tokio::test]
async fn in_a_halt_no_job_ends_by_time_and_its_age_counts_from_the_end() {
    let scene = Scene::new().await;
    let day = 86_400_000;
    let (request, mut fields) = job("short");
    fields.expires_at = Some(reelq::job::Millis(super::NOW + 1000));
    scene.at(0).enqueue(&request, &fields).await.unwrap();
    scene.waiting("old").await;
    scene.report(0, BreakerEvent::Halted, &id("x")).await;
    let (claimed, overdue) = scene.claim(day, None).await;
    assert_eq!((claimed.jobs[0].id.as_str(), overdue), ("old", Overdue::default()));
    scene.settle(day + 10, "old", 1, refused()).await;
    scene.report(day + 20, BreakerEvent::Alive, &id("old")).await;
    let (claimed, overdue) = scene.claim(2 * day, None).await;
    assert_eq!((claimed.jobs.len(), overdue.expired), (1, 1), "an expires-at is absolute");
    scene.settle(2 * day + 10, "old", 2, refused()).await;
    assert_eq!(scene.claim(2 * day + 5000, None).await.1.expired, 1);
}

#[tokio::test]
async fn jobs_past_their_end_do_not_stand_before_the_probes_of_a_halt() {
    let scene = Scene::new().await;
    for number in 0..25 {
        let (request, mut fields) = job(&format!("short-{number}"));
        fields.expires_at = Some(reelq::job::Millis(super::NOW + 1000));
        scene.at(0).enqueue(&request, &fields).await.unwrap();
    }
    scene.report(0, BreakerEvent::Halted, &id("x")).await;
    let (request, fields) = job("good");
    scene.at(500).enqueue(&request, &fields).await.unwrap();
    assert_eq!(scene.taken(2000, None).await, ["good"]);
    scene.report(2100, BreakerEvent::Alive, &id("good")).await;
    let expired = scene.claim(2200, None).await.1.expired;
    assert_eq!(expired + scene.claim(32_000, None).await.1.expired, 25, "some were put off");
}

#[tokio::test]
async fn a_halt_that_somebody_ends_by_hand_has_made_no_job_older() {
    let scene = Scene::new().await;
    let day = 86_400_000;
    scene.waiting("old").await;
    let old = id("old");
    scene.report(0, BreakerEvent::Halted, &old).await;
    assert_eq!(scene.taken(day - 10, None).await.len(), 1);
    scene.settle(day, "old", 1, refused()).await;
    assert!(scene.report(day, BreakerEvent::ProbeFailed, &old).await);
    let _: i64 = scene.0.command(&["DEL", "reelq:{video}:stage:submit"]).await;
    assert_eq!(scene.claim(day + 2000, None).await.1.expired, 0);
}

#[tokio::test]
async fn the_fleet_takes_turns_to_fetch_tokens() {
    let scene = Scene::new().await;
    let (one, other) = (scene.at(0), scene.at(0).on_own_connection().await.unwrap());
    let long = Duration::from_secs(600);
    assert_eq!(one.take_token_turn(long).await.unwrap(), Duration::ZERO);
    let wait = other.take_token_turn(long).await.unwrap();
    assert!(long / 2 < wait && wait <= long, "{wait:?}");
    assert_eq!(other.take_token_turn(SECOND).await.unwrap(), SECOND, "another's longer turn");
    let _: i64 = scene.0.command(&["PEXPIRE", "reelq:{video}:token-turn", "0"]).await;
    assert_eq!(other.take_token_turn(long).await.unwrap(), Duration::ZERO);
}

#[tokio::test]
async fn a_paused_queue_tells_that_its_stage_is_closed() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    scene.report(0, BreakerEvent::Halted, &id("a")).await;
    scene.at(0).pause("").await.unwrap();
    let (claimed, _) = scene.claim(5000, None).await;
    assert_eq!((claimed.jobs.len(), claimed.state), (0, StageState::Halted));
}

#[tokio::test]
async fn a_rate_spaces_the_calls_of_the_fleet() {
    let scene = Scene::new().await;
    scene.waiting_jobs(5).await;
    let rate = Some(20.0);
    let (first, _) = scene.claim(0, rate).await;
    assert_eq!((first.jobs.len(), first.next_in), (1, Some(Duration::from_millis(50))));
    assert_eq!(scene.taken(49, rate).await.len(), 0);
    assert_eq!(scene.taken(50, rate).await.len(), 1);
    assert_eq!(scene.taken(10_000, rate).await.len(), 1, "what was not used is lost");
    assert_eq!(scene.taken(10_000, Some(1000.0)).await.len(), 0, "the same calls count");
    assert_eq!(scene.taken(10_050, Some(1000.0)).await.len(), 2);
}

#[tokio::test]
async fn a_limited_stage_waits_and_then_finds_out_how_much_is_allowed() {
    let scene = Scene::new().await;
    scene.waiting_jobs(60).await;
    let a = id("job-0");
    assert!(scene.report(0, BreakerEvent::Limited, &a).await);
    assert!(!scene.report(10, BreakerEvent::Limited, &a).await, "the same burst");
    assert_eq!(scene.claim(999, None).await.0.next_in, Some(Duration::from_millis(1)));
    let mut by_second = Vec::new();
    for second in 1..4_u64 {
        let mut taken = 0;
        for tick in 0..100 {
            taken += scene.taken(second * 1000 + tick * 10, None).await.len();
        }
        by_second.push(taken);
    }
    // The integral of 2 * 2^t: 2.9, 5.8 and 11.5.
    assert_eq!(by_second, [3, 5, 11], "2 a second, doubled each second");
    assert!(!scene.report(4000, BreakerEvent::Alive, &a).await, "a success does not lift it");
    assert!(scene.report(4000, BreakerEvent::Limited, &a).await);
    check(
        &scene
            .0
            .dump()
            .await
            .lines()
            .filter(|it| !it.contains("job-"))
            .collect::<Vec<_>>()
            .join("\n"),
        expect![[r#"
            leases
            stage:submit
              growth 1.1 | next-probe 1800000005000 | rate 9.600 | reason 403 | since 1800000000000 | state limited
            submit
        "#]],
    );
    assert_eq!(scene.taken(5000, None).await.len(), 1);
    // It has grown until it limits nobody.
    assert!(scene.taken(70_000, None).await.len() > 30);
    assert!(!scene.0.exists("stage:submit").await);
}

#[tokio::test]
async fn a_limit_is_forgotten_when_it_is_no_lower_than_the_set_rate() {
    let scene = Scene::new().await;
    scene.waiting_jobs(3).await;
    assert!(scene.report(0, BreakerEvent::Limited, &id("a")).await);
    let rate = Some(8.0);
    assert_eq!(scene.taken(2900, rate).await.len(), 1, "2 * 2^1.9 a second, still less");
    assert!(scene.0.exists("stage:submit").await);
    assert_eq!(scene.taken(3100, rate).await.len(), 1);
    assert!(!scene.0.exists("stage:submit").await);
}

#[tokio::test]
async fn a_limit_that_asks_for_a_longer_wait_prolongs_it() {
    let scene = Scene::new().await;
    scene.waiting_jobs(1).await;
    let job = &id("a");
    assert!(scene.report(0, BreakerEvent::Limited, job).await);
    let longer =
        Report { wait: 120 * SECOND, ..report_of(Stage::Submit, BreakerEvent::Limited, job) };
    let report = async || scene.report_as(10, "w1", longer).await;
    assert_eq!(report().await, Reported::Changed);
    scene.twice(Reported::Nothing, report).await;
    assert_eq!(scene.taken(120_009, None).await.len(), 0);
    assert_eq!(scene.taken(120_010, None).await.len(), 1);
}

#[tokio::test]
async fn a_probe_rather_takes_a_job_that_was_never_sent() {
    let scene = Scene::new().await;
    scene.submitting("sent", 0).await;
    assert_eq!(scene.settle(100, "sent", 1, super::unconfirm(false)).await, Settled::Done);
    scene.waiting("new").await;
    assert!(scene.report(40_000, BreakerEvent::Halted, &id("sent")).await);
    assert_eq!(scene.taken(42_000, None).await, ["new"]);
}

#[tokio::test]
async fn a_limit_is_forgotten_when_nobody_calls() {
    let scene = Scene::new().await;
    assert!(scene.report(0, BreakerEvent::Limited, &id("a")).await);
    let beat =
        async |after_ms| scene.at(after_ms).tick(Beat::of("w1")).await.unwrap().stages.submit.state;
    assert_eq!(beat(9900).await, StageState::Limited, "2 * 2^8.9 a second: under a thousand");
    assert_eq!(beat(10_100).await, StageState::Open);
    assert!(!scene.0.exists("stage:submit").await);
}

#[tokio::test]
async fn a_refused_job_fails_when_others_were_accepted_since() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    for (claim, after_ms) in [(1, 0), (2, 2000), (3, 4000)] {
        assert_eq!(scene.claim_submits(after_ms).await.len(), 1);
        assert_eq!(scene.settle(after_ms, "a", claim, refused()).await, Settled::Done);
    }
    scene.submitting("b", 4500).await;
    scene.settle(4600, "b", 1, super::accept("w-1")).await;
    assert_eq!(scene.claim_submits(6000).await.len(), 1);
    let dump = scene.settle_twice(6000, "a", 4, refused(), Settled::Refused).await;
    check(
        &dump,
        expect![[r#"
            dead
              a 1800000006000
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 4 | customer-id acme | ended-at 1800000006000 | error api-refused: 403 | history +0 accepted, +0 refused: 403, +2000 refused: 403, +4000 refused: 403, +6000 failed | polls 0 | posts 4 | refusals 3 0 1800000000000 | result <entry> | retries 3 | revision 1 | state failed | use-case-id birthday | user-id ann | v 1
            job:b
              accepted-at 1800000000000 | attempts 0 | body-sha1 9948.. | claim 1 | customer-id acme | history +0 accepted, +4600 submitted | next-at 1800000005600 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000004600 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            poll
              b 1800000005600
            results
              #1 client-request-id a | status failed | ended-at 1800000006000 | error api-refused: 403 | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 4 | polls 0
        "#]],
    );
}
