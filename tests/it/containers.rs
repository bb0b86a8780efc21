//! Servers in real containers: whole lives on a current Redis, and on a current Valkey where its
//! image is there.
//!
//! They need a Docker engine. Where `REELQ_REQUIRE_DOCKER` is set to 1 an absent engine, or an
//! absent Redis image, fails the test; elsewhere it says that it is skipped. `REELQ_REDIS_IMAGE`
//! names another tag of the image `redis`, for a machine that has no registry to fetch 8 from.

use std::time::Duration;

use testcontainers_modules::redis::{REDIS_PORT, Redis};
use testcontainers_modules::testcontainers::core::{ContainerPort, IntoContainerPort};
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{
    ContainerAsync, Image, ImageExt, TestcontainersError,
};
use testcontainers_modules::valkey::{VALKEY_PORT, Valkey};

use super::support::TestQueue;
use super::support::processes::{Site, body, faultless};

const JOBS: usize = 20;
const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn whole_lives_on_a_current_redis_in_a_container() {
    let tag = std::env::var_os("REELQ_REDIS_IMAGE").unwrap_or_else(|| "8".into());
    match Redis::default().with_tag(tag.to_string_lossy()).start().await {
        Ok(container) => lives_on(container, REDIS_PORT.tcp()).await,
        Err(error) if is_required() => panic!("REELQ_REQUIRE_DOCKER is set, and: {error}"),
        Err(error) => skipped("Redis", &error),
    }
}

#[tokio::test]
async fn whole_lives_on_a_current_valkey_in_a_container() {
    match Valkey::default().with_tag("9").start().await {
        Ok(container) => lives_on(container, VALKEY_PORT).await,
        Err(error) => skipped("Valkey", &error),
    }
}

async fn lives_on<I: Image>(container: ContainerAsync<I>, port: impl Into<ContainerPort>) {
    let port = container.get_host_port_ipv4(port).await.unwrap();
    let queue = TestQueue::on(format!("redis://127.0.0.1:{port}"), None).await;
    let site = Site::on(queue, faultless()).await;
    let worker = site.worker();
    for number in 0..JOBS {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    site.results_reach(JOBS, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(site.results().await, JOBS);
    assert!(site.ends().await.iter().all(|(_, status)| status == "completed"));
    container.rm().await.unwrap();
}

fn is_required() -> bool {
    std::env::var_os("REELQ_REQUIRE_DOCKER").is_some_and(|it| it == "1")
}

fn skipped(what: &str, error: &TestcontainersError) {
    super::support::skipped(&format!("whole lives on {what} in a container: {error}"));
}
