import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.temporal.activity.Activity;
import io.temporal.activity.ActivityExecutionContext;
import io.temporal.activity.ActivityInfo;
import io.temporal.activity.ActivityInterface;
import io.temporal.activity.ActivityMethod;
import io.temporal.common.converter.DataConverterException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Collections;
import java.util.Optional;

/** Activities that are finished by someone else. */
@ActivityInterface
public interface Activities {
  @ActivityMethod(name = "request_approval")
  Object requestApproval(String order) throws SQLException;

  @ActivityMethod(name = "request_review")
  Object requestReview(String id) throws SQLException;

  class Implementation implements Activities {
    private final String database;

    Implementation(String database) {
      this.database = database;
    }

    // recipe: token

    @Override
    public Object requestApproval(String order) throws SQLException {
      note(order); // for the test
      ActivityExecutionContext context = Activity.getExecutionContext();
      try (Connection db = DriverManager.getConnection(database);
          PreparedStatement record = db.prepareStatement("SELECT temporal.record_activity(?, ?)")) {
        record.setString(1, order);
        record.setBytes(2, context.getTaskToken());
        record.execute();
      }
      context.doNotCompleteOnReturn();
      return null;
    }

    // recipe: ids

    @Override
    public Object requestReview(String id) throws SQLException {
      note(id); // for the test
      ActivityExecutionContext context = Activity.getExecutionContext();
      ActivityInfo info = context.getInfo();
      try (Connection db = DriverManager.getConnection(database);
          PreparedStatement insert =
              db.prepareStatement("INSERT INTO review VALUES (?, ?, ?) ON CONFLICT DO NOTHING")) {
        insert.setString(1, id);
        insert.setString(2, info.getWorkflowId());
        insert.setString(3, info.getActivityId());
        insert.execute();
      }
      context.doNotCompleteOnReturn();
      return null;
    }

    // recipe: end

    /** Tell the test of an attempt. */
    private void note(String key) throws SQLException {
      ActivityExecutionContext context = Activity.getExecutionContext();
      Optional<?> details;
      try {
        details = context.getHeartbeatDetails(Object.class);
      } catch (DataConverterException e) {
        // bytes have to be asked for
        details = context.getHeartbeatDetails(byte[].class);
      }
      String found = null;
      try {
        if (details.isPresent()) {
          found = new ObjectMapper().writeValueAsString(Collections.singletonList(Results.shown(details.get())));
        }
      } catch (JsonProcessingException e) {
        throw new IllegalStateException(e);
      }
      try (Connection db = DriverManager.getConnection(database);
          PreparedStatement insert = db.prepareStatement("INSERT INTO attempt VALUES (?, ?, ?, ?::jsonb)")) {
        insert.setString(1, key);
        insert.setInt(2, context.getInfo().getAttempt());
        insert.setBytes(3, context.getTaskToken());
        insert.setString(4, found);
        insert.execute();
      }
    }
  }
}
