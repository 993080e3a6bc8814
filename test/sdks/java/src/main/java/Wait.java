import io.temporal.activity.ActivityCancellationType;
import io.temporal.activity.ActivityOptions;
import io.temporal.common.RetryOptions;
import io.temporal.common.converter.Values;
import io.temporal.failure.ActivityFailure;
import io.temporal.failure.ApplicationErrorCategory;
import io.temporal.failure.ApplicationFailure;
import io.temporal.failure.CanceledFailure;
import io.temporal.workflow.ActivityStub;
import io.temporal.workflow.CancellationScope;
import io.temporal.workflow.Promise;
import io.temporal.workflow.SignalMethod;
import io.temporal.workflow.Workflow;
import io.temporal.workflow.WorkflowInterface;
import io.temporal.workflow.WorkflowMethod;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The workflow of the comparison. */
@WorkflowInterface
public interface Wait {
  class Task {
    public String activity;
    public String key;
    public String as;
    public int attempts;
  }

  @WorkflowMethod(name = "Wait")
  Map<String, Object> run(Task task);

  /** Has it ask its activity to cancel. A workflow that is itself asked to cancel would return nothing here. */
  @SignalMethod
  void cancel();

  /** It returns what it was told about its activity. */
  class Flow implements Wait {
    private CancellationScope scope;

    @Override
    public void cancel() {
      scope.cancel();
    }

    @Override
    public Map<String, Object> run(Task task) {
      ActivityOptions options =
          ActivityOptions.newBuilder()
              .setStartToCloseTimeout(Duration.ofMinutes(1))
              .setRetryOptions(RetryOptions.newBuilder().setMaximumAttempts(task.attempts).build())
              .setCancellationType(ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)
              .build();
      Class<?> type = Results.TYPES.get(task.as);
      ActivityStub activities = Workflow.newUntypedActivityStub(options);
      Promise<?>[] result = new Promise<?>[1];
      scope = Workflow.newCancellationScope(() -> result[0] = activities.executeAsync(task.activity, type, task.key));
      scope.run();
      try {
        return Collections.singletonMap("value", Results.shown(result[0].get()));
      } catch (ActivityFailure e) {
        if (e.getCause() instanceof ApplicationFailure) {
          ApplicationFailure f = (ApplicationFailure) e.getCause();
          Duration delay = f.getNextRetryDelay();
          return failure(
              "application",
              f.getOriginalMessage(),
              f.getType(),
              values(f.getDetails(), type),
              f.isNonRetryable(),
              delay == null ? 0 : delay.toMillis(),
              f.getCategory() == ApplicationErrorCategory.BENIGN,
              causes(f));
        }
        if (e.getCause() instanceof CanceledFailure) {
          Values details = ((CanceledFailure) e.getCause()).getDetails();
          return failure("canceled", "", "", values(details, type), false, 0, false, List.of());
        }
        throw e;
      }
    }

    private static List<Object> values(Values details, Class<?> type) {
      List<Object> values = new ArrayList<>();
      for (int i = 0; i < details.getSize(); i++) {
        values.add(Results.shown(details.get(i, type)));
      }
      return values;
    }

    private static Map<String, Object> failure(
        String kind,
        String message,
        String type,
        List<Object> details,
        boolean nonRetryable,
        long delay,
        boolean benign,
        List<Map<String, Object>> causes) {
      Map<String, Object> failure = new LinkedHashMap<>();
      failure.put("kind", kind);
      failure.put("message", message);
      failure.put("type", type == null ? "" : type);
      failure.put("details", details);
      failure.put("non_retryable", nonRetryable);
      failure.put("next_retry_delay_ms", delay);
      failure.put("benign", benign);
      if (!causes.isEmpty()) {
        failure.put("causes", causes);
      }
      return Map.of("failure", failure);
    }

    private static List<Map<String, Object>> causes(ApplicationFailure failure) {
      List<Map<String, Object>> causes = new ArrayList<>();
      for (Throwable next = failure.getCause(); next instanceof ApplicationFailure; next = next.getCause()) {
        ApplicationFailure cause = (ApplicationFailure) next;
        causes.add(
            Map.of(
                "message", cause.getOriginalMessage(),
                "type", cause.getType() == null ? "" : cause.getType(),
                "details", values(cause.getDetails(), Object.class),
                "non_retryable", cause.isNonRetryable()));
      }
      return causes;
    }
  }
}
