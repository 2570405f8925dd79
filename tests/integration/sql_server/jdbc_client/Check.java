// What a program with the JDBC driver does: parameters, types, inserts in a batch, a late error,
// settings that hold for one query. It prints NAME=VALUE lines; the argument is host:port of HTTP.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.Arrays;
import java.util.Properties;

class Check {
    public static void main(String[] arguments) throws SQLException {
        for (String compress : new String[] {"false", "true"}) {
            Properties options = new Properties();
            options.setProperty("compress", compress);
            String url = "jdbc:clickhouse://" + arguments[0] + "/default";
            try (Connection connection = DriverManager.getConnection(url, options)) {
                System.out.println("compress=" + compress);
                ask(connection);
            }
        }
    }

    static void ask(Connection connection) throws SQLException {
        String[] values = {"it's", "\"twice\"", "汉字", "{x}", "back\\slash", "new\nline", "?", ""};
        int same = 0;
        for (String value : values) {
            try (PreparedStatement query = connection.prepareStatement("SELECT ?, toUInt8(?)")) {
                query.setString(1, value);
                query.setInt(2, 7);
                try (ResultSet rows = query.executeQuery()) {
                    rows.next();
                    same += rows.getString(1).equals(value) && rows.getInt(2) == 7 ? 1 : 0;
                }
            }
        }
        System.out.println("parameters=" + same + " of " + values.length);

        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery(
                "SELECT toDateTime64('2026-10-25 10:00:00.123', 3, 'UTC') AS at, "
                + "toDecimal64(12.34, 2) AS d, [1, 2] AS a, CAST(NULL AS Nullable(Int32)) AS n, "
                + "toUInt64(18446744073709551615) AS big");
            rows.next();
            Timestamp at = rows.getTimestamp("at");
            System.out.println("at=" + at.toInstant());
            System.out.println("decimal=" + rows.getBigDecimal("d"));
            System.out.println("array=" + Arrays.toString((Object[]) rows.getArray("a").getArray()));
            System.out.println("null=" + (rows.getObject("n") == null));
            System.out.println("big=" + rows.getBigDecimal("big").toBigInteger());

            statement.execute("CREATE TABLE IF NOT EXISTS jdbc_check (id UInt32, s String) "
                + "ENGINE = MergeTree ORDER BY id");
            statement.execute("TRUNCATE TABLE jdbc_check");
            String insert = "INSERT INTO jdbc_check (id, s) VALUES (?, ?)";
            try (PreparedStatement batch = connection.prepareStatement(insert)) {
                for (int id = 0; id < 1000; id++) {
                    batch.setInt(1, id);
                    batch.setString(2, "row " + id + " '\\");
                    batch.addBatch();
                }
                batch.executeBatch();
            }
            rows = statement.executeQuery(
                "SELECT count(), uniqExact(s), countIf(endsWith(s, ' \\'\\\\')) FROM jdbc_check");
            rows.next();
            System.out.println("inserted=" + rows.getLong(1) + " " + rows.getLong(2) + " "
                + rows.getLong(3));

            // The status 200 is sent by then, so the server breaks the answer off.
            boolean late = false;
            try (ResultSet many = statement.executeQuery("SELECT throwIf(number = 300000), "
                    + "randomPrintableASCII(20) FROM numbers(400000) SETTINGS max_block_size = 1000")) {
                while (many.next()) {}
            } catch (SQLException error) {
                late = true;
            }
            System.out.println("late error=" + late);
            rows = statement.executeQuery("SELECT getSetting('max_block_size') != 1000");
            rows.next();
            System.out.println("after=" + rows.getInt(1));
        }
    }
}
