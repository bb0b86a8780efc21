//! Each role's `tick` by itself, on a Redis of its own: no loop runs beside it.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::watch;

use super::crew::Crew;
use super::heartbeat::{BEATS_TO_JUDGE, Heartbeat};
use super::intake::Admitter;
use super::redis_retry::RedisRetry;
use super::settler::{Settler, Writer};
use super::stages::StageWork;
use super::stages::apalis_backend::{Lane, Settle};
use super::stages::claim_loop::ClaimLoop;
use super::stages::submit::SubmitStage;
use super::*;
use crate::cli::private_redis::PrivateRedis;
use crate::config::Source;
use crate::job::{EntryFields, JobId, QueueName, Request, Stage};
use crate::queue::{Claimant, Inbox, Queue};
use crate::setup;

/// A queue and a crew of which nothing runs.
struct Ground {
    crew: Crew,
    settings: Settings,
    client: Client,
    raw: redis::aio::MultiplexedConnection,
    /// What Redis is asked for what the crew does not show.
    queue: RuledQueue,
    /// Ended with the test.
    _redis: PrivateRedis,
}

impl Ground {
    async fn new() -> Self {
        let command = std::env::var_os("REELQ_REDIS_SERVER");
        let command = command.map(|it| it.to_string_lossy().into_owned());
        let redis = PrivateRedis::start(command.as_deref()).await.expect("a Redis server");
        let set = [
            ("REELQ_REDIS__URL", redis.url()),
            ("REELQ_API__BASE_URL", "http://127.0.0.1:9".to_owned()),
            ("REELQ_API__CLIENT_ID", "id".to_owned()),
            ("REELQ_API__CLIENT_SECRET", "secret".to_owned()),
            ("REELQ_API__API_KEY", "key".to_owned()),
        ];
        let environment = set.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let loaded = Settings::from_source(Source { file: None, environment }).unwrap();
        let options = setup::connect_options(&loaded.settings).unwrap();
        let queue = Queue::connect(options, &QueueName::new("video").unwrap()).await.unwrap();
        let queue = queue.with_rules(setup::rules(&loaded.settings));
        queue.create_group().await.unwrap();
        let client = Client::new(loaded.api().unwrap(), 1, 1, token_turns(&queue)).unwrap();
        let raw = redis::Client::open(redis.url()).unwrap();
        Self {
            crew: Crew::new(&loaded.settings, queue.clone(), Watchdog::default()),
            settings: loaded.settings,
            client,
            raw: raw.get_multiplexed_async_connection().await.unwrap(),
            queue,
            _redis: redis,
        }
    }

    async fn command(&self, line: &str) -> redis::Value {
        let mut command = redis::Cmd::new();
        for word in line.split(' ') {
            command.arg(word);
        }
        command.query_async(&mut self.raw.clone()).await.unwrap()
    }

    /// Enqueues by XADD, as a producer does.
    async fn xadd(&self, id: &str) {
        let body = String::from_utf8(request(id).body().to_vec()).unwrap();
        self.command(&format!("XADD reelq:{{video}}:jobs * job {body}")).await;
    }

    async fn enqueue(&self, name: &str) {
        self.queue.enqueue(&request(name), &EntryFields::default()).await.unwrap();
    }

    async fn state(&self, name: &str) -> String {
        self.queue.record(&id(name)).await.unwrap().unwrap().state().to_owned()
    }

    /// The submit stage's lane, which nobody empties: what its entrance takes in stays in hand.
    fn lane(&self) -> (SubmitStage, Admitter, Lane<SubmitStage>, Arc<Writer>) {
        let (settler, unwritten) = Settler::new();
        let writer = Writer {
            queue: self.queue.clone(),
            worker: Arc::clone(&self.crew.name),
            controls: self.crew.controls.clone(),
            loop_watch: self.crew.watchdog.watch("settler"),
            unwritten,
        };
        let work = self.crew.submit_stage(&self.client, &self.settings);
        let settle = Settle {
            work: work.clone(),
            settler,
            controls: self.crew.controls.submit.clone(),
            stopping: watch::channel(false).1,
            broken_off: watch::channel(false).1,
        };
        let (entrance, lane) = Lane::new(16, settle);
        (work, self.crew.admitter(&self.settings, entrance), lane, Arc::new(writer))
    }
}

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn request(name: &str) -> Request {
    Request::new(id(name), "acme", "birthday", "ann").phrase_texts(["Hello"]).build().unwrap()
}

fn rung(controls: &StageControls) -> bool {
    controls.alarm.rung().now_or_never().is_some()
}

#[tokio::test]
async fn a_beat_rings_for_what_is_due_and_several_judge_the_silent() {
    let ground = Ground::new().await;
    let (silent, silent_seen) = watch::channel(Vec::new());
    let crew = &ground.crew;
    let heartbeat = Heartbeat {
        queue: ground.queue.clone(),
        worker: Arc::clone(&crew.name),
        controls: crew.controls.clone(),
        health: Arc::clone(&crew.health),
        watchdog: crew.watchdog.clone(),
        loop_watch: crew.watchdog.watch("heartbeat"),
        silent,
    };
    ground.command("ZADD reelq:{video}:workers 1000 gone").await;
    let mut beats = 0;
    for beat in 1..BEATS_TO_JUDGE {
        heartbeat.tick(&ground.queue, &mut beats).await.unwrap();
        assert_eq!((beats, silent_seen.borrow().len()), (beat, 0));
    }
    assert!(!rung(&crew.controls.submit));
    ground.enqueue("due").await;
    heartbeat.tick(&ground.queue, &mut beats).await.unwrap();
    assert_eq!(*silent_seen.borrow(), ["gone"]);
    assert!(rung(&crew.controls.submit) && !rung(&crew.controls.poll));
    assert_eq!(ground.queue.stats().await.unwrap().workers, 1, "it has signed on");
}

#[tokio::test]
async fn one_look_of_the_rescuer_takes_over_all_that_a_dead_worker_held() {
    let ground = Ground::new().await;
    let (_work, admitter, _lane, _writer) = ground.lane();
    let (_silent, silent_seen) = watch::channel(Vec::new());
    let rescuer = ground.crew.rescuer(admitter, silent_seen);
    ground.command("ZADD reelq:{video}:workers 1000 dead").await;
    ground.enqueue("begun").await;
    let claimant = Claimant { worker: "dead", limit: 1, number: 1, rate: None };
    assert_eq!(ground.queue.claim_submits(claimant).await.unwrap().0.jobs.len(), 1);
    ground.xadd("read").await;
    let mut inbox = Inbox::new(&ground.queue, "dead".to_owned());
    let entry_id = inbox.read().await.unwrap().remove(0).entry_id;
    let aged = format!("XCLAIM reelq:{{video}}:jobs workers dead 0 {entry_id} IDLE 10000");
    ground.command(&aged).await;

    let (mut tidied, dead) = (Some(Instant::now()), ["dead".to_owned()]);
    rescuer.tick(&[], &mut tidied).await.unwrap();
    assert_eq!(ground.state("begun").await, "submitting", "nobody was judged dead");
    rescuer.tick(&dead, &mut tidied).await.unwrap();
    assert_eq!(ground.state("begun").await, "unconfirmed");
    assert_eq!(ground.state("read").await, "waiting");
    let known = "ZCARD reelq:{video}:workers";
    assert_eq!(ground.command(known).await, redis::Value::Int(1), "it may have held more");
    rescuer.tick(&dead, &mut tidied).await.unwrap();
    assert_eq!(ground.command(known).await, redis::Value::Int(0));
    assert_eq!(ground.queue.stats().await.unwrap().leased, 0);
}

#[tokio::test]
async fn one_look_tells_the_missing_rights() {
    let ground = Ground::new().await;
    let (rights, mut said) = (ground.crew.rights_role(), None);
    assert!(rights.tick(&mut said).await.unwrap() && said.is_none());
    ground.command("ACL SETUSER default -xadd").await;
    assert!(!rights.tick(&mut said).await.unwrap() && said.is_some());
    assert!(!*rights.given.borrow());
    ground.command("ACL SETUSER default +xadd").await;
    assert!(rights.tick(&mut said).await.unwrap() && said.is_none());
    assert!(*rights.given.borrow());
}

#[tokio::test]
async fn one_turn_of_the_intake_takes_what_has_permits_into_hand() {
    let ground = Ground::new().await;
    let (_work, admitter, _lane, _writer) = ground.lane();
    let permits = Arc::clone(ground.crew.controls.submit.slow_start.permits());
    let mut intake = ground.crew.intake(admitter);
    let (stop, mut stopping) = watch::channel(false);
    let names: Vec<String> = (0..=permits.available_permits()).map(|it| format!("j{it}")).collect();
    for name in &names {
        ground.xadd(name).await;
    }
    // Without the rights it reads nothing.
    assert!(intake.tick(1, &mut stopping).now_or_never().is_none());
    ground.crew.rights_role().tick(&mut None).await.unwrap();
    assert_eq!(intake.tick(2, &mut stopping).await.unwrap(), ControlFlow::Continue(()));
    let (last, begun) = names.split_last().unwrap();
    for name in begun {
        assert_eq!(ground.state(name).await, "submitting");
    }
    assert_eq!(ground.state(last).await, "waiting");
    assert_eq!(permits.available_permits(), 0);
    assert!(rung(&ground.crew.controls.submit), "what waits is to be claimed");
    stop.send_replace(true);
    assert_eq!(intake.tick(3, &mut stopping).await.unwrap(), ControlFlow::Break(()));
}

#[tokio::test]
async fn one_claim_takes_as_many_as_it_has_permits_and_one_batch_writes_what_they_came_to() {
    let ground = Ground::new().await;
    let (work, admitter, lane, writer) = ground.lane();
    let controls = ground.crew.controls.submit.clone();
    let claims = ClaimLoop {
        work,
        worker: Arc::clone(&ground.crew.name),
        controls: controls.clone(),
        entrance: admitter.entrance.clone(),
        call_limit: Duration::from_secs(50),
        rights: watch::channel(true).1,
        loop_watch: ground.crew.watchdog.watch(SubmitStage::STAGE.as_str()),
    };
    for name in ["first", "second"] {
        ground.enqueue(name).await;
    }
    let (_stop, mut stopping) = watch::channel(false);
    let permit = Arc::clone(controls.slow_start.permits()).try_acquire_owned().unwrap();
    let (mut retry, free) = (RedisRetry::new("submit"), controls.slow_start.permits());
    let left = free.available_permits();
    let turn = claims.tick(permit, 1, &mut retry, &mut stopping).await;
    assert_eq!((turn, free.available_permits()), (ControlFlow::Continue(()), left));
    assert_eq!(ground.state("first").await, "submitting");
    assert_eq!(ground.state("second").await, "waiting");
    assert!(rung(&controls), "there is more to be claimed");

    // A lane that ends hands back what it did not begin.
    drop((claims, admitter, lane));
    let mut unwritten = writer.unwritten.lock().await;
    assert_eq!(writer.tick(&mut unwritten).await, ControlFlow::Continue(()));
    assert_eq!(ground.state("first").await, "waiting");
    assert_eq!(free.available_permits(), left + 1);
    assert_eq!(writer.tick(&mut unwritten).await, ControlFlow::Break(()), "nobody brings more");
}

#[tokio::test]
async fn one_message_rings_the_alarm_of_its_stage() {
    let ground = Ground::new().await;
    let (wake, controls) = (ground.crew.wake(), &ground.crew.controls);
    let mut woken = pin!(ground.queue.wake_ups().await.unwrap());
    for (stage, other) in [(Stage::Poll, Stage::Submit), (Stage::Submit, Stage::Poll)] {
        ground.command(&format!("PUBLISH reelq:{{video}}:wake {stage}")).await;
        wake.tick(&mut woken).await.unwrap();
        assert!(rung(controls.of(stage)) && !rung(controls.of(other)), "{stage}");
    }
}
