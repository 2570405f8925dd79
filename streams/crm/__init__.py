"""The bridge between the site's CRM on RabbitMQ and the log."""
