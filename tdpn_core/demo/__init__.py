"""The toolkit shown on clips that it renders itself."""
