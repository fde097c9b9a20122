"""The online store in DynamoDB's protocol: its client, and the only modules that spell its requests and answers."""
