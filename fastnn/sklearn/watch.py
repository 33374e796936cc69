"""What scikit-learn does after every epoch."""
from ..callbacks import Callback

SMALLEST_RATE = 1e-6            # where 'adaptive' stops


class Watch(Callback):
    """What scikit-learn does after every epoch: curves and scores, the learning rate, and whether to stop."""

    def __init__(self, estimator, samples, held):
        super().__init__()
        self.estimator, self.samples, self.held = estimator, samples, held

    def on_epoch_end(self, epoch, logs=None):
        e = self.estimator
        e.n_iter_ += 1
        e.t_ += self.samples
        e.loss_ = logs["loss"] / e._words()[3]
        e.loss_curve_.append(e.loss_)
        better = self.better_score(e, logs) if self.held else self.better_loss(e)
        e._no_improvement_count = 0 if better else e._no_improvement_count + 1
        scheduled = e.solver != "adam"
        if scheduled and e.learning_rate == "invscaling":
            self.model.optimizer.learning_rate = e.learning_rate_init / (e.t_ + 1) ** e.power_t
        if e._no_improvement_count > e.n_iter_no_change:
            self.stop_or_slow_down(scheduled and e.learning_rate == "adaptive")

    def better_score(self, e, logs):
        x, y, weights = self.held
        logs["validation_score"] = score = e._score_outputs(self.model.predict(x), y, weights)
        better = score >= e.best_validation_score_ + e.tol
        e.validation_scores_.append(score)
        if score > e.best_validation_score_:
            e.best_validation_score_, e._best_weights = score, self.model.get_weights()
        return better

    def better_loss(self, e):
        better = e.loss_ <= e.best_loss_ - e.tol
        e.best_loss_ = min(e.loss_, e.best_loss_)
        return better

    def stop_or_slow_down(self, adaptive):
        if adaptive and self.model.optimizer.learning_rate > SMALLEST_RATE:
            self.model.optimizer.learning_rate /= 5
            self.estimator._no_improvement_count = 0
        else:
            self.model.stop_training = True
