//! The bridge to apalis: our backend, and the layer that settles what a handler came to.
//!
//! A lane carries jobs in hand from the claim loop and the intake to one apalis worker. No error
//! ever leaves it (apalis drops a worker and its running handlers on one) and it never says that
//! it is at its end (the worker would idle for ever): it ends by the worker's own stop. Should the
//! apalis worker end early all the same, the calls in hand go on, for each is a task of its own,
//! and what was not begun is handed back.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot, watch};
use tower::{Layer, Service};

use super::{Cut, InHand, LeasedJob, StageControls, StageWork};
use crate::job::{ApiSignal, Outcome};
use crate::queue::Settlement;
use crate::worker::api_health::Caller;
use crate::worker::settler::{Due, Settler};

/// The backend of one stage's apalis worker.
pub(crate) struct Lane<S: StageWork> {
    jobs: mpsc::Receiver<InHand<S::Job>>,
    settle: Settle<S>,
}

impl<S: StageWork> Lane<S> {
    /// A lane and its entrance. It holds as many jobs as there are permits, so that whoever has
    /// a permit never waits at the entrance.
    pub(crate) fn new(permits: usize, settle: Settle<S>) -> (Entrance<S>, Self) {
        let (sender, jobs) = mpsc::channel(permits);
        (Entrance { sender, settle: settle.clone() }, Self { jobs, settle })
    }
}

impl<S: StageWork> Drop for Lane<S> {
    fn drop(&mut self) {
        self.jobs.close();
        while let Ok(in_hand) = self.jobs.try_recv() {
            // Without a runtime the whole process ends, and the leases heal it.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(self.settle.clone().settle(in_hand, Err(Cut::Stopped)));
            }
        }
    }
}

/// Where jobs in hand are brought, each with its permit. Cheap to clone.
pub(crate) struct Entrance<S: StageWork> {
    sender: mpsc::Sender<InHand<S::Job>>,
    settle: Settle<S>,
}

impl<S: StageWork> Clone for Entrance<S> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), settle: self.settle.clone() }
    }
}

impl<S: StageWork> Entrance<S> {
    /// Has a job's call begun, or hands the job back when the lane has ended.
    pub(crate) async fn bring(&self, in_hand: InHand<S::Job>) {
        if let Err(SendError(in_hand)) = self.sender.send(in_hand).await {
            self.settle.clone().settle(in_hand, Err(Cut::Stopped)).await;
        }
    }
}

impl<S: StageWork> Backend for Lane<S> {
    type Task = Task<InHand<S::Job>>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        match self.jobs.poll_recv(context) {
            Poll::Ready(Some(in_hand)) => {
                let task_id = TaskId::from_string(in_hand.job.id().as_str());
                Poll::Ready(Some(Ok(TaskBuilder::new(in_hand).task_id(task_id).build())))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl<S: StageWork> BackendConfig for Lane<S> {
    type Args = InHand<S::Job>;
    type Id = String;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Settle<S>;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Settle<S> {
        self.settle.clone()
    }
}

/// The layer around a stage's handler: it alone turns an outcome into a move and has it written.
#[derive(Clone)]
pub(crate) struct Settle<S> {
    pub(crate) work: S,
    pub(crate) settler: Settler,
    pub(crate) controls: StageControls,
    /// Turns true when nothing new may be taken.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Turns true when a stopping worker can wait no longer for the calls in hand.
    pub(crate) broken_off: watch::Receiver<bool>,
}

impl<S: StageWork> Settle<S> {
    /// Has written what a call came to, and then tells the other workers what it says of the API:
    /// what is paid for waits for nobody.
    async fn settle(self, in_hand: InHand<S::Job>, answered: Result<S::Outcome, Cut>) {
        let Self { work, settler, controls, mut stopping, .. } = self;
        let StageControls { breaker, fault_log, .. } = controls;
        let InHand { job, since, probe, began, permit } = in_hand;
        let (signal, outcome) = match answered {
            Ok(outcome) => (outcome.signal(), outcome),
            // It tells nothing of the API.
            Err(cut) => (ApiSignal::Nothing, S::cut_off(cut, began.at())),
        };
        let why = outcome.fault();
        if let Some(why) = why {
            fault_log.note(job.id(), why);
        }
        let caller = Caller { id: job.id(), pair: job.pair() };
        let discovery = breaker.note(caller, signal, why.unwrap_or_default(), probe);
        let to = work.decide(&job, outcome, since.elapsed(), breaker.standing(probe));
        let settlement = Settlement { id: job.id().clone(), claim: job.claim(), to };
        let (until_written, written) = discovery.is_some().then(oneshot::channel).unzip();
        settler.settle(Due { settlement, job, until_written }).await;
        // The settler ends when nobody can bring anything any more.
        drop(settler);
        let tell = async {
            if let (Some(discovery), Some(written)) = (discovery, written) {
                // An error, too, says that nobody writes it any more.
                let _ = written.await;
                breaker.tell(discovery).await;
            }
        };
        tokio::pin!(tell);
        let is_told = tokio::select! {
            biased;
            () = &mut tell => true,
            _ = stopping.wait_for(|it| *it) => false,
        };
        if !is_told {
            // Until the others know, nothing is begun in this call's place; but a stop does not wait.
            drop(permit);
            tell.await;
        } else if let Some(hold) = breaker.hold(signal, probe) {
            tokio::select! {
                () = tokio::time::sleep(hold) => {}
                _ = stopping.wait_for(|it| *it) => {}
            }
        }
    }
}

impl<S: StageWork, Inner> Layer<Inner> for Settle<S> {
    type Service = SettleService<S, Inner>;

    fn layer(&self, inner: Inner) -> Self::Service {
        SettleService { settle: self.clone(), inner }
    }
}

/// A handler whose outcomes are settled.
pub(crate) struct SettleService<S, Inner> {
    settle: Settle<S>,
    inner: Inner,
}

impl<S, Inner> Service<Task<InHand<S::Job>>> for SettleService<S, Inner>
where
    S: StageWork,
    Inner: Service<Task<InHand<S::Job>>, Response = S::Outcome, Error = BoxDynError>,
    Inner::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxDynError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut task: Task<InHand<S::Job>>) -> Self::Future {
        let in_hand = task.args.take();
        let handler = self.inner.call(task);
        let mut settle = self.settle.clone();
        // A task of its own, which outlives the apalis worker.
        let call = tokio::spawn(async move {
            let answered = tokio::select! {
                // An answer that is there is not given up.
                biased;
                answered = handler => answered.map_err(|error| {
                    let id = in_hand.job.id();
                    tracing::error!(job.id = %id, %error, "a {} handler panicked", S::STAGE);
                    Cut::Panicked
                }),
                _ = settle.broken_off.wait_for(|it| *it) => Err(Cut::Stopped),
            };
            settle.settle(in_hand, answered).await;
        });
        Box::pin(async move {
            if let Err(error) = call.await {
                tracing::error!(%error, "{}: a call broke down; its lease heals it", S::STAGE);
            }
            Ok(())
        })
    }
}
