//! The bench's bare caller makes the calls that a queue makes, and no others.

#[path = "../bench/bare.rs"]
mod bare;

use std::time::Duration;

use reelq::sandbox::{self, Endpoint};

use super::support::processes::{body, faultless};

#[tokio::test]
async fn the_bare_caller_makes_two_calls_per_job() {
    const JOBS: u64 = 100;
    let sandbox = sandbox::start(faultless()).await.unwrap();
    let id = |number| format!("job-{number}");
    let bodies = (0..JOBS).map(|number| (id(number), body(&id(number)))).collect();
    let api = format!("http://{}", sandbox.addr());
    let caller = bare::Caller::new(&api, bare::InFlight::DEFAULT).await.unwrap();
    let urls = caller.make(bodies, Duration::from_millis(20)).await.unwrap();
    assert_eq!(urls.len(), 100);
    for number in 0..JOBS {
        assert_eq!(sandbox.posts_of(&id(number)), 1);
        assert!(urls[&id(number)].starts_with("https://"), "{urls:?}");
    }
    let stats = sandbox.stats();
    assert_eq!(stats.answered(Endpoint::Submit, "200"), JOBS);
    assert_eq!(stats.answered(Endpoint::Status, "200"), JOBS);
    let calls: u64 = stats.calls.values().flat_map(|answers| answers.values()).sum();
    assert_eq!(calls, 2 * JOBS + stats.token_calls(), "{:?}", stats.calls);
    assert_eq!(stats.token_calls(), 1);
}
