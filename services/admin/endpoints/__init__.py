"""Endpoints: partners' webhooks as operations see and change them."""
