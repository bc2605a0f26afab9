"""What `localgpt doctor` looks at: one module a group, one function a check, each giving findings and never raising."""
