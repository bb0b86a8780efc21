//! Members that are not where they belong, keys of another type, and a clock that went back.

use reelq::job::Claim;
use reelq::queue::{Beat, BreakerEvent, Lost, Move, QueueError, ServerClock, Settled, Settlement};

use super::super::support::id;
use super::{NOW, Scene, accept, complete, fail, refused, repoll, requeue, unconfirm};

const HOUR_MS: u64 = 3_600_000;

impl Scene {
    async fn zadd(&self, place: &str, score: u64, member: &str) {
        let key = format!("reelq:{{video}}:{place}");
        let _: u64 = self.0.command(&["ZADD", &key, &score.to_string(), member]).await;
    }

    async fn zrem(&self, place: &str, member: &str) {
        let _: u64 = self.0.command(&["ZREM", &format!("reelq:{{video}}:{place}"), member]).await;
    }

    /// The places in which a job is, each with its due time from `NOW`.
    async fn places_of(&self, name: &str) -> Vec<String> {
        let mut places = Vec::new();
        for place in ["submit", "unconfirmed", "poll", "leases"] {
            let key = format!("reelq:{{video}}:{place}");
            let due: Option<u64> = self.0.command(&["ZSCORE", &key, name]).await;
            places.extend(due.map(|due| format!("{place} {}", i128::from(due) - i128::from(NOW))));
        }
        places
    }

    /// Lets every script look that finds members in places.
    async fn look_everywhere(&self, after_ms: u64) -> Vec<String> {
        let queue = self.at(after_ms);
        let (claimed, _) = queue.claim_submits(self.claimant("w2")).await.unwrap();
        let mut out = claimed.quarantined;
        out.extend(queue.claim_polls(self.claimant("w2")).await.unwrap().quarantined);
        out.extend(queue.reclaim(Lost::Overdue).await.unwrap().quarantined);
        out
    }
}

#[tokio::test]
async fn a_live_job_in_a_wrong_place_is_put_into_its_own_and_nothing_is_sent_again() {
    for wrong in ["submit", "unconfirmed", "poll", "leases"] {
        // Each state with where its job belongs, found there or lost from there.
        for lost in [false, true] {
            let scene = Scene::new().await;
            scene.submitting("submitting", 0).await;
            scene.submitting("unconfirmed", 0).await;
            scene.settle(10, "unconfirmed", 1, unconfirm(false)).await;
            scene.polling("polling").await;
            scene.submitting("waiting", 0).await;
            scene.settle(10, "waiting", 1, requeue()).await;
            let homes = [
                ("submitting", "leases", "leases 60000"),
                ("unconfirmed", "unconfirmed", "unconfirmed 30000"),
                ("polling", "poll", "poll 1100"),
                ("waiting", "submit", "submit 2010"),
            ];
            for (name, home, _) in homes {
                if home != wrong {
                    scene.zadd(wrong, 1, name).await;
                    if lost {
                        scene.zrem(home, name).await;
                    }
                }
            }
            let out = scene.look_everywhere(500).await;
            assert_eq!(out, Vec::<String>::new(), "{wrong}: what lives is not taken out");
            for (name, home, due) in homes {
                // One that is being submitted and was in no hands gets a whole lease.
                let whole_lease = lost && name == "submitting" && home != wrong;
                let due = if whole_lease { "leases 60500" } else { due };
                // A lease that is lost is due at once, like one that has run out.
                let found = scene.places_of(name).await;
                let taken_back = wrong == "leases" && name == "polling";
                let due = if taken_back { "poll 500" } else { due };
                assert_eq!(found, [due], "{name}, found in {wrong}, lost: {lost}");
            }
        }
    }
}

#[tokio::test]
async fn a_job_that_is_being_checked_is_not_put_into_poll() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.zadd("submit", 1, "a").await;
    scene.zadd("unconfirmed", 1, "a").await;
    assert_eq!(scene.look_everywhere(1200).await, Vec::<String>::new());
    assert_eq!(scene.places_of("a").await, ["leases 61100"]);
}

#[tokio::test]
async fn what_has_no_record_or_has_ended_is_taken_out_named_and_counted() {
    let scene = Scene::new().await;
    scene.polling("ended").await;
    scene.claim_polls(1100).await;
    scene.settle(1200, "ended", 2, complete()).await;
    let before = scene.0.dump().await;
    let mut count = 0;
    for place in ["submit", "unconfirmed", "poll", "leases"] {
        scene.zadd(place, 1, "ended").await;
        scene.zadd(place, 2, "ghost").await;
        assert_eq!(scene.look_everywhere(1300).await, ["ended", "ghost"], "{place}");
        count += 2;
        let counted: u64 =
            scene.0.command(&["HGET", "reelq:{video}:counters", "quarantined"]).await;
        assert_eq!(counted, count);
    }
    let after = scene.0.dump().await.replace(" | quarantined 8", "");
    assert_eq!(after, before, "an ended job is left as it is");
}

/// After a failover two workers may hold the same job under the same number.
#[tokio::test]
async fn the_fence_tells_workers_of_the_same_claim_apart() {
    let scene = Scene::new().await;
    let settle = async |worker: &str, name: &str, to: Move| {
        let settlement = Settlement { id: id(name), claim: Claim(1), to };
        scene.at(50).settle(worker, &[settlement]).await.unwrap()[0]
    };
    scene.submitting("a", 0).await;
    for to in [requeue(), unconfirm(false), fail()] {
        let before = scene.0.dump().await;
        assert_eq!(settle("w2", "a", to.clone()).await, Settled::Stale, "{to:?}");
        assert_eq!(scene.0.dump().await, before);
    }
    assert_eq!(settle("w2", "a", accept("w-1")).await, Settled::Done, "it is true whoever says so");
    scene.polling("b").await;
    scene.claim_polls(1100).await;
    let settlement = Settlement { id: id("b"), claim: Claim(2), to: repoll("") };
    let settled = scene.at(1200).settle("w2", &[settlement]).await.unwrap();
    assert_eq!(settled, [Settled::Stale]);
}

#[tokio::test]
async fn keys_of_another_type_count_as_none() {
    let scene = Scene::new().await;
    for key in ["stage:submit", "stage:poll", "halt-ended:submit", "rate:submit", "clock"] {
        let kind = if key.starts_with("stage") { "SET" } else { "LPUSH" };
        let _: redis::Value =
            scene.0.command(&[kind, &format!("reelq:{{video}}:{key}"), "x"]).await;
    }
    let _: redis::Value = scene.0.command(&["SET", "reelq:{video}:counters", "x"]).await;
    scene.submitting("a", 0).await;
    scene.settle_twice(10, "a", 1, refused(), Settled::Done).await;
    assert_eq!(scene.claim_submits(5000).await.len(), 1);
    assert_eq!(scene.settle(5010, "a", 2, accept("w-1")).await, Settled::Done);
    assert_eq!(scene.claim_polls(9000).await.len(), 1);
    assert_eq!(scene.settle(9010, "a", 3, complete()).await, Settled::Done);
    scene.at(9020).tick(Beat::of("w1")).await.unwrap();
    for event in [BreakerEvent::Limited, BreakerEvent::Halted] {
        scene.0.command::<()>(&["SET", "reelq:{video}:stage:submit", "x"]).await;
        assert!(scene.report(9030, event, &id("a")).await, "{event:?}");
    }
}

/// A failover to a server whose clock is an hour behind.
#[tokio::test]
async fn what_an_earlier_clock_had_set_is_pulled_in_and_no_schedule_is_forgotten()
-> Result<(), QueueError> {
    let scene = Scene::new().await;
    scene.at(HOUR_MS).tick(Beat::of("w2")).await?;
    let later = scene.at(HOUR_MS);
    let (request, mut fields) = super::super::support::job("scheduled");
    fields.not_before = Some(reelq::job::Millis(NOW + 2 * HOUR_MS));
    later.enqueue(&request, &fields).await?;
    for place in ["submit", "unconfirmed", "poll", "leases"] {
        for member in 0..150 {
            scene.zadd(place, NOW + HOUR_MS + 5000, &format!("job-{member:03}")).await;
        }
    }
    scene.report(HOUR_MS, BreakerEvent::Halted, &id("job-000")).await;
    for (key, value) in [("rate:submit", "1"), ("token-turn", "")] {
        let _: () = scene.0.command(&["SET", &format!("reelq:{{video}}:{key}"), value]).await;
    }
    let mut beats = 0;
    loop {
        let clock = scene.at(0).tick(Beat::of("w1")).await?.clock;
        beats += 1;
        if clock == ServerClock::WentBack {
            break;
        }
        assert_eq!(clock, ServerClock::PullingIn);
    }
    assert_eq!(beats, 2, "a hundred a beat");
    assert_eq!(scene.at(0).tick(Beat::of("w1")).await?.clock, ServerClock::Steady);
    for (place, due) in
        [("submit", 60_000), ("unconfirmed", 330_000), ("poll", 30_000), ("leases", 60_000)]
    {
        let key = format!("reelq:{{video}}:{place}");
        let bounds = [format!("{}", NOW + due), format!("{}", NOW + due)];
        let count: u64 = scene.0.command(&["ZCOUNT", &key, &bounds[0], &bounds[1]]).await;
        assert_eq!(count, 150, "{place}");
    }
    assert_eq!(scene.places_of("scheduled").await, [format!("submit {}", 2 * HOUR_MS)]);
    let field = async |name: &str| -> u64 {
        scene.0.command(&["HGET", "reelq:{video}:stage:submit", name]).await
    };
    assert_eq!(field("next-probe").await, NOW + 60_000);
    assert!(!scene.0.exists("rate:submit").await && !scene.0.exists("token-turn").await);
    let beats: Vec<(String, u64)> =
        scene.0.command(&["ZRANGE", "reelq:{video}:workers", "0", "-1", "WITHSCORES"]).await;
    assert_eq!(beats, [("w1".to_owned(), NOW), ("w2".to_owned(), NOW)]);
    assert_eq!(scene.at(4000).tick(Beat::of("w1")).await?.silent, ["w2"], "the dead are noticed");
    Ok(())
}

#[tokio::test]
async fn a_name_that_no_worker_has_is_removed_and_hides_nobody() -> Result<(), QueueError> {
    let scene = Scene::new().await;
    for number in 0_u8..12 {
        let name = [b"odd \xff", [number].as_slice()].concat();
        let words: [&[u8]; 4] = [b"ZADD", b"reelq:{video}:workers", b"1", &name];
        let _: u64 = scene.0.raw_command(words).await;
    }
    scene.at(0).tick(Beat::of("w2")).await?;
    for _twice in 0..2 {
        scene.at(4000).tick(Beat::of("w1")).await?;
    }
    assert_eq!(scene.at(4000).tick(Beat::of("w1")).await?.silent, ["w2"]);
    Ok(())
}

/// A claim gives what can be read and says what cannot.
#[tokio::test]
async fn a_value_that_is_no_text_holds_up_nobody() {
    let scene = Scene::new().await;
    scene.polling("bad").await;
    scene.polling("good").await;
    let words: [&[u8]; 4] = [b"HSET", b"reelq:{video}:job:bad", b"whilter-request-id", b"w-\xff"];
    let _: u64 = scene.0.raw_command(words).await;
    let claimed = scene.at(5000).claim_polls(scene.claimant("w1")).await.unwrap();
    let jobs: Vec<_> = claimed.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!((jobs, claimed.unreadable), (vec!["good"], vec!["bad".to_owned()]));
}
