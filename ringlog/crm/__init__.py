"""What a CRM says, as `customers.changes`: a pure translation by the site's mapping file."""
