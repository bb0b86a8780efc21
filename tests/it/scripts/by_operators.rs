//! What an operator does to a whole stage or queue, and what he is shown of its workers.

use std::time::Duration;

use futures_util::StreamExt;
use reelq::job::Stage;
use reelq::queue::{Beat, BreakerEvent, Report, Reported, StageState};
use tokio::time::timeout;

use super::super::support::{id, report_of};
use super::{NOW, Scene};

const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: u64 = 3_600_000;

#[tokio::test]
async fn a_closed_stage_is_probed_at_once_by_whichever_worker_is_there() {
    for event in [BreakerEvent::Halted, BreakerEvent::Broken, BreakerEvent::Limited] {
        let scene = Scene::new().await;
        scene.waiting_jobs(2).await;
        for worker in ["w1", "w2"] {
            scene.at(0).tick(Beat::of(worker)).await.unwrap();
        }
        let job = id("job-0");
        let closed = Report { wait: HOUR, ..report_of(Stage::Submit, event, &job) };
        assert_eq!(scene.report_as(0, "w1", closed).await, Reported::Changed);
        assert_eq!(scene.taken(10, None).await.len(), 0, "{event:?}");
        let mut news = Box::pin(scene.at(0).wake_ups().await.unwrap());
        scene.twice(true, async || scene.at(10).probe_now(Stage::Submit).await.unwrap()).await;
        assert_eq!(timeout(SOON, news.next()).await, Ok(Some(Stage::Submit)), "{event:?}");
        assert_eq!(scene.taken(10, None).await.len(), 1, "{event:?}: by the one that closed it");
        assert!(scene.0.exists("stage:submit").await, "{event:?}: it stays closed until then");
    }
}

#[tokio::test]
async fn an_open_stage_is_left_alone() {
    let scene = Scene::new().await;
    let job = id("a");
    scene.report_as(0, "w1", report_of(Stage::Submit, BreakerEvent::Halted, &job)).await;
    scene.twice(false, async || scene.at(10).probe_now(Stage::Poll).await.unwrap()).await;
    assert!(!scene.0.exists("stage:poll").await);
    let stats = scene.at(10).stats().await.unwrap();
    assert_eq!(stats.stages.submit.state, StageState::Halted, "nor is the other one touched");
    assert!(stats.stages.submit.next_probe.is_some());
}

/// No worker needs to live for it, and nobody need have beaten during the pause.
#[tokio::test]
async fn a_pause_that_is_resumed_has_made_no_job_older() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    scene.at(0).pause("holiday").await.unwrap();
    assert!(scene.at(0).is_paused().await.unwrap());
    assert_eq!(scene.claim_submits(30 * HOUR_MS).await, []);
    assert!(scene.at(30 * HOUR_MS).resume().await.unwrap());
    let before = scene.0.dump().await;
    assert!(!scene.at(40 * HOUR_MS).resume().await.unwrap(), "it was not paused");
    assert_eq!(scene.0.dump().await, before, "so no job grows younger");
    assert_eq!(scene.claim_submits(54 * HOUR_MS - 1).await.len(), 1, "a day after its end");
    scene.waiting("b").await;
    assert_eq!(scene.claim_submits(54 * HOUR_MS).await, [], "then it is over");
    let state: String = scene.0.command(&["HGET", "reelq:{video}:job:b", "state"]).await;
    assert_eq!(state, "expired");
}

#[tokio::test]
async fn an_ill_worker_is_shown_as_long_as_it_lives() {
    let scene = Scene::new().await;
    let shown = async |after_ms| {
        let stats = scene.at(after_ms).stats().await.unwrap();
        let ill = stats.ill.into_iter().collect::<Vec<_>>();
        (stats.workers, ill)
    };
    let why = "connect: no name resolution\u{1b}[2J";
    let ill = Beat { ill: Some(why), ..Beat::of("w1") };
    scene.at(0).tick(ill).await.unwrap();
    scene.at(3000).tick(Beat::of("w2")).await.unwrap();
    let words: [&[u8]; 4] = [b"HSET", b"reelq:{video}:ill", b"w\xff", b"\xfe"];
    let _: u64 = scene.0.raw_command(words).await;
    assert_eq!(shown(3500).await, (2, vec![("w1".to_owned(), why.to_owned())]));
    assert_eq!(shown(4500).await, (1, vec![]), "it has not beaten for 4 s");
    let strange: [&[u8]; 4] =
        [b"ZADD", b"reelq:{video}:workers", &(NOW + 4500).to_string().into_bytes(), b"w\xff"];
    let _: u64 = scene.0.raw_command(strange).await;
    assert_eq!(shown(4500).await, (2, vec![(r"w\xff".to_owned(), r"\xfe".to_owned())]));
}
