//! Enqueues what many callers bring at the same time, together: while Redis admits one batch, the next
//! one gathers. A caller that is alone waits for nobody.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::job::{EntryFields, Request};
use crate::queue::{ADMIT_BATCH, Admission, Queue, QueueError};

/// Batches that Redis is asked to admit at one time.
const AT_ONCE: usize = 2;
/// Callers whose jobs may wait to be admitted.
const WAITING: usize = 10_000;

/// One caller's job.
struct Brought {
    job: (Request, EntryFields),
    answer: oneshot::Sender<Answer>,
}

/// What a caller is told; those of one batch may have the same error.
type Answer = Result<Admission, Arc<QueueError>>;

/// Where single jobs are brought. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admissions {
    sender: mpsc::Sender<Brought>,
}

/// What admits them.
pub(super) struct Admitting {
    queue: Queue,
    brought: Arc<Mutex<mpsc::Receiver<Brought>>>,
}

impl Admissions {
    pub(super) fn new(queue: Queue) -> (Self, Admitting) {
        let (sender, brought) = mpsc::channel(WAITING);
        (Self { sender }, Admitting { queue, brought: Arc::new(Mutex::new(brought)) })
    }

    /// Enqueues a job.
    pub(super) async fn enqueue(&self, job: (Request, EntryFields)) -> Answer {
        let (answer, answered) = oneshot::channel();
        // Nobody admits any more when the process ends: another one may.
        let gone = || Arc::new(QueueError::io(ErrorKind::NotConnected));
        self.sender.send(Brought { job, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Admitting {
    /// Runs until nobody can bring anything any more.
    pub(super) async fn run(self) {
        let loops = (0..AT_ONCE).map(|_| self.admit_all());
        futures_util::future::join_all(loops).await;
    }

    async fn admit_all(&self) {
        let mut batch = Vec::with_capacity(ADMIT_BATCH);
        loop {
            if self.brought.lock().await.recv_many(&mut batch, ADMIT_BATCH).await == 0 {
                return;
            }
            // Who waits no more was told so, and may ask again.
            batch.retain(|it| !it.answer.is_closed());
            self.admit(&mut batch).await;
        }
    }

    async fn admit(&self, batch: &mut Vec<Brought>) {
        let (jobs, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|it| (it.job, it.answer)).unzip();
        match self.queue.enqueue_many(&jobs).await {
            Ok(admissions) => {
                for (answer, admission) in answers.into_iter().zip(admissions) {
                    // Whoever has gone meanwhile is told when asking again.
                    let _ = answer.send(Ok(admission));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}
